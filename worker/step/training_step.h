// Trains one batch. This is the only place that knows the order of a step.
#pragma once

#include "worker/run/run_context.h"

#include <rtrain/batch.h>

#include <torch/types.h>

#include <cstdint>

namespace rtrain {

/// The position of a batch, given by the loop.
struct StepPlace {
  std::int64_t batch_idx = 0;
  bool first = true;  ///< first of its accumulation: clears the gradients
  bool sync = true;   ///< last of its accumulation: averages the gradients and steps
};

/// Automatic optimization with one optimizer: before_forward, training_step, zero_grad, backward, and after
/// the last batch of an accumulation on_before_optimizer_step, clip, step.
class TrainingStep {
 public:
  explicit TrainingStep(RunContext& run) : run_(run) {}

  /// @return the loss as training_step returned it, detached; undefined if it returned none.
  /// @throws std::logic_error if training_step returned a tensor that is not a scalar or has no graph.
  torch::Tensor run(const Batch& batch, const StepPlace& place);

  /// True if a backward has run since the gradients were cleared.
  [[nodiscard]] bool has_gradients() const { return has_gradients_; }
  void set_has_gradients(bool has) { has_gradients_ = has; }

 private:
  void clear_gradients();
  void learn(const torch::Tensor& loss, bool sync);
  void reduce_pending_gradients();
  void step_optimizer();
  /// The loss that backward starts from: a part of the accumulation, scaled by the precision.
  [[nodiscard]] torch::Tensor scale(const torch::Tensor& loss);
  /// The only place where an optimizer is stepped.
  void step(Optimizer& optimizer);

  RunContext& run_;
  bool has_gradients_ = false;
};

}  // namespace rtrain
