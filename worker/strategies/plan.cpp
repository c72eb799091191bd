#include <rtrain/lightning_module.h>
#include <rtrain/plan.h>

#include "worker/checkpoint/module_state.h"

#include <torch/torch.h>

#include <map>
#include <typeinfo>
#include <utility>

namespace rtrain {

void Plan::backward(const torch::Tensor& loss, bool /*sync*/, const BackwardOptions& options) {
  options.run(loss);
}

void Plan::step(Optimizer& optimizer, const StepInputs& inputs) { optimizer.step(inputs); }

torch::Tensor Plan::step_with_closure(Optimizer& optimizer, const Closure& closure) {
  return optimizer.step(closure);
}

void Plan::zero_grad(const std::vector<torch::Tensor>& parameters) {
  for (const auto& parameter : parameters) parameter.mutable_grad().reset();
}

void Plan::reduce_gradients(const std::vector<torch::Tensor>& parameters) {
  auto& ranks = mesh_.loss_group();
  if (ranks.is_alone()) return;
  const torch::NoGradGuard no_grad;
  auto present = torch::zeros({static_cast<std::int64_t>(parameters.size())}, torch::kInt64);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    present[static_cast<std::int64_t>(i)] = parameters[i].grad().defined() ? 1 : 0;
  present = present.to(device_);
  ranks.all_reduce(present, Communicator::Op::kMax);
  present = present.to(torch::kCPU);
  // One sum a type and device; a flat copy of the gradients, because they need not lie together.
  std::map<std::pair<std::string, at::ScalarType>, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (present[static_cast<std::int64_t>(i)].item<std::int64_t>() == 0) continue;
    groups[{parameters[i].device().str(), parameters[i].scalar_type()}].push_back(i);
  }
  for (const auto& [key, group] : groups) {
    std::vector<torch::Tensor> parts;
    std::vector<std::int64_t> sizes;
    for (const auto i : group) {
      const auto& gradient = parameters[i].grad();
      parts.push_back(
          (gradient.defined() ? gradient.to_dense() : torch::zeros_like(parameters[i])).reshape(-1));
      sizes.push_back(parts.back().numel());
    }
    const auto flat = torch::cat(parts);
    ranks.all_reduce(flat, Communicator::Op::kMean);
    const auto means = flat.split_with_sizes(sizes);
    for (std::size_t k = 0; k < group.size(); ++k) {
      const auto& parameter = parameters[group[k]];
      auto& gradient = parameter.mutable_grad();
      const auto mean = means[k].view(parameter.sizes());
      if (!gradient.defined())
        gradient = mean.clone();
      else if (gradient.layout() == torch::kStrided)
        gradient.copy_(mean);  // it may be a view of a bucket
      else
        gradient = mean.to_sparse(gradient.sparse_dim());
    }
  }
}

torch::Tensor Plan::clip(Optimizer& optimizer, const GradientClip& clip) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> gradients;
  for (const auto& parameter : optimizer.parameters()) {
    auto& gradient = parameter.mutable_grad();
    if (!gradient.defined()) continue;
    // The values of a coalesced sparse gradient have its norm, and the rest of it is zero before and after.
    if (gradient.is_sparse()) gradient = gradient.coalesce();
    gradients.push_back(gradient.is_sparse() ? gradient._values() : gradient);
  }
  if (gradients.empty()) return {};
  if (clip.algorithm == GradientClip::Algorithm::kValue) {
    at::_foreach_clamp_min_(gradients, -clip.limit);
    at::_foreach_clamp_max_(gradients, clip.limit);
    return {};
  }
  // torch.nn.utils.clip_grad_norm_, without reading the norm back.
  const auto norm = torch::stack(at::_foreach_norm(gradients, 2)).norm();
  const auto factor = (clip.limit / (norm + 1e-6)).clamp_max(1.0);
  for (auto& gradient : gradients) gradient.mul_(factor);
  return norm;
}

std::map<std::string, torch::Tensor> Plan::pending_gradients() const {
  std::map<std::string, torch::Tensor> gradients;
  for (const auto& item : module_.named_parameters())
    if (item.value().grad().defined()) gradients.emplace(item.key(), item.value().grad());
  return gradients;
}

void Plan::load_pending_gradients(const std::map<std::string, torch::Tensor>& gradients) {
  for (const auto& item : module_.named_parameters()) {
    const auto found = gradients.find(item.key());
    if (found != gradients.end())
      item.value().mutable_grad() =
          found->second.to(item.value().device(), /*non_blocking=*/false, /*copy=*/true);
  }
}

std::string Plan::why_not_captured() const {
  const Plan& plan = *this;
  return typeid(plan) == typeid(Plan)
             ? ""
             : "the strategy does not say that its step can be captured (Plan::why_not_captured())";
}

StateTree Plan::module_state() const { return state_of(module_); }

LoadedWeights Plan::load_module_state(const StateTree& saved, bool strict) {
  return load_state(module_, saved, strict);
}

}  // namespace rtrain
