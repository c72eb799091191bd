#include <rtrain/cluster_environment.h>
#include <rtrain/context.h>
#include <rtrain/strategies.h>

#include "worker/strategies/process_group.h"

#include <torch/torch.h>

#include <map>
#include <utility>

namespace rtrain {

bool Strategy::reduce_boolean_decision(bool decision, bool all) {
  if (!is_distributed()) return decision;
  auto vote = torch::scalar_tensor(decision ? 1.0F : 0.0F, torch::dtype(torch::kFloat32).device(device()));
  reduce(vote, all ? Reduce::kMin : Reduce::kMax);
  return vote.item<float>() > 0;
}

std::vector<torch::Tensor> Strategy::all_gather(const torch::Tensor& value) {
  if (!is_distributed()) return {value.detach().clone()};
  const ClusterEnvironment environment;
  std::vector<std::int64_t> sizes{environment.world_size()};
  sizes.insert(sizes.end(), value.sizes().begin(), value.sizes().end());
  auto rows = torch::zeros(sizes, value.options().requires_grad(false));
  rows[environment.global_rank()].copy_(value.detach());
  reduce(rows, Reduce::kSum);
  return rows.unbind(0);
}

void Strategy::reduce_gradients(const std::vector<torch::Tensor>& parameters) {
  if (!is_distributed()) return;
  const torch::NoGradGuard no_grad;
  auto present = torch::zeros({static_cast<std::int64_t>(parameters.size())}, torch::kInt64);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    present[static_cast<std::int64_t>(i)] = parameters[i].grad().defined() ? 1 : 0;
  present = present.to(device());
  reduce(present, Reduce::kMax);
  present = present.to(torch::kCPU);
  // One sum a type and device; a flat copy of the gradients, because they need not lie together.
  std::map<std::pair<std::string, at::ScalarType>, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (present[static_cast<std::int64_t>(i)].item<std::int64_t>() == 0) continue;
    groups[{parameters[i].device().str(), parameters[i].scalar_type()}].push_back(i);
  }
  for (const auto& [key, group] : groups) {
    std::vector<torch::Tensor> parts;
    for (const auto i : group) {
      const auto& gradient = parameters[i].grad();
      parts.push_back(
          (gradient.defined() ? gradient.to_dense() : torch::zeros_like(parameters[i])).reshape(-1));
    }
    auto flat = torch::cat(parts);
    reduce(flat, Reduce::kMean);
    const auto sums = flat.split_with_sizes([&] {
      std::vector<std::int64_t> sizes;
      for (const auto& part : parts) sizes.push_back(part.numel());
      return sizes;
    }());
    for (std::size_t k = 0; k < group.size(); ++k) {
      const auto& parameter = parameters[group[k]];
      auto& gradient = parameter.mutable_grad();
      const auto mean = sums[k].view(parameter.sizes());
      if (!gradient.defined())
        gradient = mean.clone();
      else if (gradient.layout() == torch::kStrided)
        gradient.copy_(mean);  // it may be a view of a bucket
      else
        gradient = mean.to_sparse(gradient.sparse_dim());
    }
  }
}

void SingleDeviceStrategy::setup(LightningModule&, bool) {}

void SingleDeviceStrategy::backward(const torch::Tensor& loss, bool) { loss.backward(); }

void SingleDeviceStrategy::zero_grad(const std::vector<torch::Tensor>& parameters) {
  for (const auto& parameter : parameters) parameter.mutable_grad().reset();
}

// The group that the collectives use is the truth; a process without one asks the job.
int ClusterEnvironment::world_size() const {
  return Collectives::initialized() ? Collectives::world_size() : get_context().get_world_size();
}
int ClusterEnvironment::global_rank() const {
  return Collectives::initialized() ? Collectives::rank() : get_context().get_world_rank();
}
int ClusterEnvironment::local_rank() const { return get_context().get_local_rank(); }
int ClusterEnvironment::node_rank() const { return get_context().get_node_rank(); }

}  // namespace rtrain
