// Trains one batch. This is the only place that knows the order of a step.
#pragma once

#include "worker/run/run_context.h"
#include "worker/step/staged_pass.h"

#include <rtrain/batch.h>
#include <rtrain/lightning_optimizer.h>
#include <rtrain/step_output.h>

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace rtrain {

/// The position of a batch, given by the loop.
struct StepPlace {
  std::int64_t batch_idx = 0;
  bool first = true;  ///< first of its accumulation: clears the gradients
  bool sync = true;   ///< last of its accumulation: averages the gradients and steps
  /// false: this rank's data has ended, and it takes part in the step of the others (Plan::join())
  bool has_batch = true;
};

/// Automatic optimization with one optimizer. A batch is before_forward, training_step, zero_grad and
/// backward; the last batch of an accumulation is the closure of the module's optimizer_step(), which goes on
/// with on_before_optimizer_step, clipping and the step. Without an optimizer every batch is the first part
/// alone. In a pipeline (Stages) the gradients are cleared before the layers run, because the
/// backward of a micro-batch begins before the forward of a later one, and on_after_backward follows once a
/// batch.
class TrainingStep final : public detail::OptimizerDriver {
 public:
  explicit TrainingStep(RunContext& run) : run_(run), staged_(run) {}

  /// @return what training_step returned, with the loss detached and divided by the number of batches of the
  /// accumulation.
  /// @throws std::logic_error if training_step returned a tensor that is not a scalar or has no graph, or
  /// other tensors without a loss; if optimizer_step() did not call its closure.
  StepOutput run(const Batch& batch, const StepPlace& place);

  torch::Tensor step(Optimizer& optimizer, const Closure& closure) override;
  void zero_grad(Optimizer& optimizer) override;

  /// True if a backward has run since the gradients were cleared.
  [[nodiscard]] bool has_gradients() const { return has_gradients_; }
  void set_has_gradients(bool has) { has_gradients_ = has; }

 private:
  void learn_and_step(const Batch& batch, const StepPlace& place, StepOutput& output);
  torch::Tensor learn(const Batch& batch, const StepPlace& place, StepOutput& output);
  torch::Tensor learn_in_stages(Stages& stages, const Batch& batch, const StepPlace& place,
                                StepOutput& output);
  void learn_without_batch(const StepPlace& place);
  void clear_gradients(std::int64_t batch_idx);
  void reduce_pending_gradients();
  [[nodiscard]] std::vector<torch::Tensor> trained_parameters() const;

  RunContext& run_;
  StagedPass staged_;
  bool has_gradients_ = false;
};

}  // namespace rtrain
