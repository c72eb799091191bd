#include "worker/strategies/rank_means.h"

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace rtrain {
namespace {

/// The numbers of a tensor in a row.
torch::Tensor row_of(const torch::Tensor& tensor) {
  const auto own = tensor.detach();
  return (own.is_complex() ? torch::view_as_real(own) : own).reshape(-1);
}

}  // namespace

std::vector<torch::Tensor> means_over(Communicator& ranks, const std::vector<torch::Tensor>& tensors,
                                      std::optional<torch::ScalarType> sent_as) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> means;
  means.reserve(tensors.size());
  for (const auto& tensor : tensors) means.push_back(tensor.detach().clone());
  std::map<std::pair<std::string, at::ScalarType>, std::vector<std::size_t>> groups;
  std::vector<torch::Tensor> counted;
  for (std::size_t i = 0; i < means.size(); ++i) {
    if (means[i].is_floating_point() || means[i].is_complex())
      groups[{means[i].device().str(), means[i].scalar_type()}].push_back(i);
    else
      counted.push_back(means[i]);
  }
  for (const auto& [key, group] : groups) {
    std::vector<torch::Tensor> rows;
    std::vector<std::int64_t> sizes;
    for (const auto i : group) {
      rows.push_back(row_of(means[i]));
      sizes.push_back(rows.back().numel());
    }
    auto flat = torch::cat(rows);
    if (sent_as) flat = flat.to(*sent_as);
    flat.div_(ranks.world_size());
    ranks.all_reduce(flat, Communicator::Op::kSum);
    const auto parts = flat.split_with_sizes(sizes);
    for (std::size_t k = 0; k < group.size(); ++k) {
      auto& mean = means[group[k]];
      const auto to = mean.is_complex() ? torch::view_as_real(mean) : mean;
      to.copy_(parts[k].view(to.sizes()));
    }
  }
  if (!counted.empty()) ranks.broadcast_all(counted);
  return means;
}

}  // namespace rtrain
