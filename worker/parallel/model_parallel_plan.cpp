#include "worker/parallel/model_parallel_plan.h"

#include "worker/strategies/elementwise.h"
#include "worker/strategies/global_norm.h"

namespace rtrain::parallel {

ModelParallelPlan::ModelParallelPlan(LightningModule& of, Mesh& ranks, torch::Device at,
                                     std::unique_ptr<Plan> replicas, const std::vector<SplitParameter>& split)
    : Plan(of, ranks, at), replicas_(std::move(replicas)) {
  for (const auto& [tensor, partition] : split) split_.emplace(tensor.unsafeGetTensorImpl(), partition);
}

void ModelParallelPlan::adopt(Optimizer& optimizer) {
  replicas_->adopt(optimizer);
  take_parts(optimizer);
}

/// Also later: a callback may add parameters to an optimizer.
void ModelParallelPlan::take_parts(Optimizer& optimizer) {
  if (tensor_group().is_alone()) return;
  const auto parameters = optimizer.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto* key = parameters[i].unsafeGetTensorImpl();
    const auto split = split_.find(key);
    if (split == split_.end() || !taken_.emplace(&optimizer, key).second) continue;
    require_elementwise(optimizer, "ModelParallelStrategy",
                        "cannot step " + optimizer.parameter_name(i) + ", of which each rank has a part");
    optimizer.replace_parameter(optimizer.parameter_name(i), split->second.piece(parameters[i]));
  }
}

torch::Tensor ModelParallelPlan::clip(Optimizer& optimizer, const GradientClip& clip) {
  take_parts(optimizer);
  if (tensor_group().is_alone() || clip.algorithm == GradientClip::Algorithm::kValue)
    return Plan::clip(optimizer, clip);
  std::vector<torch::Tensor> parts, whole;
  for (const auto& parameter : optimizer.parameters()) {
    auto& gradient = parameter.mutable_grad();
    if (!gradient.defined()) continue;
    if (gradient.is_sparse()) gradient = gradient.coalesce();
    (split_.contains(parameter.unsafeGetTensorImpl()) ? parts : whole)
        .push_back(gradient.is_sparse() ? gradient._values() : gradient);
  }
  return clip_global_norm(parts, whole, tensor_group(), clip.limit, device());
}

void ModelParallelPlan::step(Optimizer& optimizer, const StepInputs& inputs) {
  take_parts(optimizer);
  // Each rank has looked at its own parts for infinities.
  if (inputs.found_inf.defined()) tensor_group().all_reduce(inputs.found_inf, Communicator::Op::kMax);
  replicas_->step(optimizer, inputs);
}

std::string ModelParallelPlan::why_not_captured() const {
  return "ModelParallelStrategy has messages between ranks within the step, which are not captured: leave "
         "cuda_graph out";
}

}  // namespace rtrain::parallel
