#include "worker/step/training_step.h"

#include "worker/optim/unique.h"
#include "worker/step/backward_pass.h"
#include "worker/step/optimizer_update.h"
#include "worker/step/sync_batch_norm.h"

#include <torch/torch.h>

#include <functional>
#include <stdexcept>

namespace rtrain {

StepOutput TrainingStep::run(const Batch& batch, const StepPlace& place) {
  StepOutput output;
  if (!place.sync || run_.optimizers.empty())
    (void)learn(batch, place, output);
  else
    learn_and_step(batch, place, output);
  run_.plan->after_batch();
  return output;
}

void TrainingStep::learn_and_step(const Batch& batch, const StepPlace& place, StepOutput& output) {
  bool learned = false;
  const auto pass = [&] {
    learned = true;
    return learn(batch, place, output);
  };
  const Closure closure = std::ref(pass);  // a std::function holds a reference without an allocation
  auto optimizer = run_.handle(0);
  run_.call_module(Hook::kOptimizerStep, &LightningModule::optimizer_step, run_.epochs.current.completed,
                   place.batch_idx, optimizer, closure);
  if (!learned)
    throw std::logic_error(
        "optimizer_step() returned without calling its closure, so the batch was not learned: call "
        "step(closure) of its optimizer, or closure() alone to leave out the step");
}

/// The collectives of learn(), in their order.
void TrainingStep::learn_without_batch(const StepPlace& place) {
  run_.plan->before_forward(place.sync);
  if (place.first) clear_gradients(place.batch_idx);
  if (!place.sync) return;
  run_.plan->backward_without_batch();
  has_gradients_ = true;
}

torch::Tensor TrainingStep::learn(const Batch& batch, const StepPlace& place, StepOutput& output) {
  if (!place.has_batch) {
    learn_without_batch(place);
    return output.loss;
  }
  if (auto* stages = stages_of(*run_.plan)) return learn_in_stages(*stages, batch, place, output);
  run_.plan->before_forward(place.sync);
  const SyncBatchNormScope synced(run_.options.sync_batchnorm, run_.strategy());
  output = run_.call_step(Hook::kTrainingStep, &LightningModule::training_step, batch, place.batch_idx);
  auto& loss = output.loss;
  if (!loss.defined() && !output.extras.empty())
    throw std::logic_error("training_step returned \"" + output.extras.begin()->first +
                           "\" without a loss: return {loss, {...}}, or std::nullopt for no loss at all");
  if (place.sync && !loss.defined())
    run_.strategy().meet("batch " + std::to_string(place.batch_idx) +
                         " without a loss (training_step returned none)");
  if (place.first) clear_gradients(place.batch_idx);
  if (!loss.defined()) {
    if (place.sync) reduce_pending_gradients();
    return loss;
  }
  if (run_.accumulate != 1) loss = loss / static_cast<double>(run_.accumulate);
  run_backward(run_, loss, place.sync, {}, "training_step returned");
  has_gradients_ = true;
  return loss = loss.detach();
}

torch::Tensor TrainingStep::learn_in_stages(Stages& stages, const Batch& batch, const StepPlace& place,
                                            StepOutput& output) {
  run_.plan->before_forward(place.sync);
  if (place.first) clear_gradients(place.batch_idx);
  const SyncBatchNormScope synced(run_.options.sync_batchnorm, run_.strategy());
  output.loss = staged_.train(stages, batch, place.batch_idx);
  if (place.sync) run_.plan->reduce_gradients(trained_parameters());
  has_gradients_ = true;
  run_.call(Hook::kAfterBackward, &Callback::on_after_backward, &LightningModule::on_after_backward);
  return output.loss;
}

void TrainingStep::clear_gradients(std::int64_t batch_idx) {
  if (run_.optimizers.empty()) {
    run_.plan->zero_grad(run_.module->parameters());
    has_gradients_ = false;
    return;
  }
  auto& optimizer = *run_.optimizers.front();
  run_.call(Hook::kBeforeZeroGrad, &Callback::on_before_zero_grad, &LightningModule::on_before_zero_grad,
            optimizer);
  run_.call_module(Hook::kOptimizerZeroGrad, &LightningModule::optimizer_zero_grad,
                   run_.epochs.current.completed, batch_idx, optimizer);
}

void TrainingStep::zero_grad(Optimizer& optimizer) {
  run_.plan->zero_grad(optimizer.parameters());
  has_gradients_ = false;
}

/// The sums of an accumulation are made by its last backward. Here there was none, on no rank.
void TrainingStep::reduce_pending_gradients() {
  has_gradients_ = run_.strategy().reduce_boolean_decision(has_gradients_, /*all=*/false);
  if (!has_gradients_) return;
  run_.plan->reduce_gradients(trained_parameters());
}

std::vector<torch::Tensor> TrainingStep::trained_parameters() const {
  auto parameters = unique(run_.module->parameters());
  std::erase_if(parameters, [](const torch::Tensor& p) { return !p.requires_grad(); });
  return parameters;
}

torch::Tensor TrainingStep::step(Optimizer& optimizer, const Closure& closure) {
  auto loss = update(run_, optimizer, closure, has_gradients_);
  if (has_gradients_) run_.precision().update();
  return loss;
}

}  // namespace rtrain
