#include "worker/step/manual_step.h"

#include "worker/step/backward_pass.h"
#include "worker/step/optimizer_update.h"
#include "worker/step/sync_batch_norm.h"

#include <torch/torch.h>

#include <algorithm>

namespace rtrain {
namespace {

bool any_requires_grad(const Optimizer& optimizer) {
  const auto& parameters = optimizer.module_parameters();
  return std::any_of(parameters.begin(), parameters.end(),
                     [](const torch::Tensor& parameter) { return parameter.requires_grad(); });
}

}  // namespace

StepOutput ManualStep::run(const Batch& batch, std::int64_t batch_idx) {
  stepped_ = false;
  run_.plan->before_forward(/*sync=*/true);
  const SyncBatchNormScope synced(run_.options.sync_batchnorm, run_.strategy());
  auto output = run_.call_step(Hook::kTrainingStep, &LightningModule::training_step, batch, batch_idx);
  // Once, for all steps: gradients that one optimizer has not used yet are scaled as the others were.
  if (stepped_) run_.precision().update();
  if (output.loss.defined()) output.loss = output.loss.detach();
  run_.plan->after_batch();
  return output;
}

void ManualStep::backward(const torch::Tensor& loss, const BackwardOptions& options) {
  run_backward(run_, loss, /*sync=*/*unsynced_ == 0, options, "manual_backward got");
  for (const auto& optimizer : run_.optimizers) {
    if (any_requires_grad(*optimizer)) unused_.insert(optimizer.get());
  }
}

torch::Tensor ManualStep::step(Optimizer& optimizer, const Closure& closure) {
  auto loss = update(run_, optimizer, closure, /*has_gradients=*/true);
  stepped_ = true;
  ++run_.optimizer_steps;
  unused_.erase(&optimizer);
  return loss;
}

void ManualStep::zero_grad(Optimizer& optimizer) {
  run_.plan->zero_grad(optimizer.parameters());
  unused_.erase(&optimizer);
}

std::map<std::string, torch::Tensor> ManualStep::pending_gradients() const {
  std::map<std::string, torch::Tensor> gradients;
  for (const auto* optimizer : unused_) {
    for (std::size_t i = 0; i < optimizer->parameters().size(); ++i) {
      const auto& gradient = optimizer->parameters()[i].grad();
      if (gradient.defined()) gradients.emplace(optimizer->parameter_name(i), gradient);
    }
  }
  return gradients;
}

void ManualStep::expect_gradients(const std::map<std::string, torch::Tensor>& gradients) {
  for (const auto& optimizer : run_.optimizers) {
    for (std::size_t i = 0; i < optimizer->parameters().size(); ++i) {
      if (gradients.contains(optimizer->parameter_name(i))) unused_.insert(optimizer.get());
    }
  }
}

}  // namespace rtrain
