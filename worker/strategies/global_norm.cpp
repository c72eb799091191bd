#include "worker/strategies/global_norm.h"

#include <torch/torch.h>

namespace rtrain {

torch::Tensor sum_of_squares(const std::vector<torch::Tensor>& gradients, torch::Device device) {
  if (gradients.empty()) return torch::zeros({}, torch::dtype(torch::kFloat64).device(device));
  return torch::stack(at::_foreach_norm(gradients, 2)).to(torch::kFloat64).square().sum().to(device);
}

torch::Tensor scale_to_norm(const std::vector<torch::Tensor>& gradients, const torch::Tensor& norm,
                            double limit) {
  if (gradients.empty()) return norm;  // other ranks may have some
  const auto factor = (limit / (norm + 1e-6)).clamp_max(1.0);
  for (const auto& gradient : gradients)
    torch::Tensor(gradient).mul_(factor.to(gradient.device(), gradient.scalar_type()));
  return norm.to(gradients.front().scalar_type());
}

torch::Tensor clip_global_norm(const std::vector<torch::Tensor>& pieces,
                               const std::vector<torch::Tensor>& whole, Communicator& ranks, double limit,
                               torch::Device device) {
  const torch::NoGradGuard no_grad;
  auto sum = sum_of_squares(pieces, device);
  ranks.all_reduce(sum);
  const auto norm = (sum + sum_of_squares(whole, device)).sqrt();
  auto all = pieces;
  all.insert(all.end(), whole.begin(), whole.end());
  return scale_to_norm(all, norm, limit);
}

}  // namespace rtrain
