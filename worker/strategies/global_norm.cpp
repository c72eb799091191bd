#include "worker/strategies/global_norm.h"

#include <torch/torch.h>

namespace rtrain {

torch::Tensor clip_global_norm(const std::vector<torch::Tensor>& pieces,
                               const std::vector<torch::Tensor>& whole, Communicator& ranks, double limit,
                               torch::Device device) {
  const torch::NoGradGuard no_grad;
  const auto squares = [&](const std::vector<torch::Tensor>& gradients) -> torch::Tensor {
    if (gradients.empty()) return torch::zeros({}, torch::dtype(torch::kFloat64).device(device));
    return torch::stack(at::_foreach_norm(gradients, 2)).to(torch::kFloat64).square().sum().to(device);
  };
  auto sum = squares(pieces);
  ranks.all_reduce(sum);
  const auto norm = (sum + squares(whole)).sqrt();
  auto all = pieces;
  all.insert(all.end(), whole.begin(), whole.end());
  if (all.empty()) return norm;  // other ranks may have gradients
  const auto factor = (limit / (norm + 1e-6)).clamp_max(1.0);
  for (auto& gradient : all) gradient.mul_(factor.to(gradient.device(), gradient.scalar_type()));
  return norm.to(all.front().scalar_type());
}

}  // namespace rtrain
