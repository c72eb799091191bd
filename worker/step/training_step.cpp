#include "worker/step/training_step.h"

#include "worker/optim/unique.h"

#include <torch/torch.h>

#include <stdexcept>

namespace rtrain {

torch::Tensor TrainingStep::run(const Batch& batch, const StepPlace& place) {
  run_.plan->before_forward(place.sync);
  const auto loss =
      run_.call_step(Hook::kTrainingStep, &LightningModule::training_step, batch, place.batch_idx);
  if (place.sync && !loss.defined())
    run_.strategy().meet("batch " + std::to_string(place.batch_idx) +
                         " without a loss (training_step returned none)");
  if (place.first) clear_gradients();
  if (loss.defined()) learn(loss, place.sync);
  if (place.sync && !loss.defined()) reduce_pending_gradients();
  if (place.sync) step_optimizer();
  return loss.defined() ? loss.detach() : loss;
}

void TrainingStep::clear_gradients() {
  run_.call(Hook::kBeforeZeroGrad, &Callback::on_before_zero_grad, &LightningModule::on_before_zero_grad,
            *run_.optimizer);
  run_.plan->zero_grad(run_.optimizer->parameters());
  has_gradients_ = false;
}

void TrainingStep::learn(const torch::Tensor& loss, bool sync) {
  if (loss.numel() != 1)
    throw std::logic_error("training_step returned a tensor of " + std::to_string(loss.numel()) +
                           " elements, expected the loss: one element");
  if (!loss.requires_grad())
    throw std::logic_error(
        "training_step returned a loss that does not depend on any parameter that requires a gradient");
  const auto scaled = scale(loss);
  run_.call(Hook::kBeforeBackward, &Callback::on_before_backward, &LightningModule::on_before_backward,
            scaled);
  run_.plan->backward(scaled, sync);
  has_gradients_ = true;
  run_.call(Hook::kAfterBackward, &Callback::on_after_backward, &LightningModule::on_after_backward);
}

torch::Tensor TrainingStep::scale(const torch::Tensor& loss) {
  return run_.precision().scale(run_.accumulate == 1 ? loss : loss / static_cast<double>(run_.accumulate));
}

/// The sums of an accumulation are made by its last backward. Here there was none, on no rank.
void TrainingStep::reduce_pending_gradients() {
  has_gradients_ = run_.strategy().reduce_boolean_decision(has_gradients_, /*all=*/false);
  if (!has_gradients_) return;
  auto parameters = unique(run_.module->parameters());
  std::erase_if(parameters, [](const torch::Tensor& p) { return !p.requires_grad(); });
  run_.plan->reduce_gradients(parameters);
}

void TrainingStep::step_optimizer() {
  if (has_gradients_) run_.precision().unscale(*run_.optimizer);
  run_.call(Hook::kBeforeOptimizerStep, &Callback::on_before_optimizer_step,
            &LightningModule::on_before_optimizer_step, *run_.optimizer);
  // Gradients that are zero and not absent would still move the parameters.
  if (!has_gradients_) return;
  if (const auto limit = run_.options.gradient_clip_val.value_or(0); limit > 0)
    (void)run_.plan->clip(*run_.optimizer, {limit, run_.options.gradient_clip_algorithm == "value"
                                                       ? GradientClip::Algorithm::kValue
                                                       : GradientClip::Algorithm::kNorm});
  step(*run_.optimizer);
  run_.precision().update();
}

void TrainingStep::step(Optimizer& optimizer) { run_.precision().step(*run_.plan, optimizer); }

}  // namespace rtrain
