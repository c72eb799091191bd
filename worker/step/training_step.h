// One batch of training: the only place that knows the order of a step.
#pragma once

#include "worker/run/run_context.h"

#include <rtrain/batch.h>

#include <torch/types.h>

#include <cstdint>

namespace rtrain {

/// What the loop tells of a batch.
struct StepPlace {
  std::int64_t batch_idx = 0;
  bool first = true;  ///< of its accumulation: gradients are cleared
  bool sync = true;   ///< the last one: gradients become those of all ranks, and the optimizer steps
};

/// Automatic optimization with one optimizer: before_forward, training_step, zero_grad, backward, and with
/// the last batch of an accumulation on_before_optimizer_step, clip, step.
class TrainingStep {
 public:
  explicit TrainingStep(RunContext& run) : run_(run) {}

  /// @return the loss as training_step returned it, detached; undefined: it returned none.
  /// @throws std::logic_error training_step returned no scalar, or one without a graph.
  torch::Tensor run(const Batch& batch, const StepPlace& place);

  /// A backward ran since the gradients were cleared.
  [[nodiscard]] bool has_gradients() const { return has_gradients_; }
  void set_has_gradients(bool has) { has_gradients_ = has; }

 private:
  void clear_gradients();
  void learn(const torch::Tensor& loss, bool sync);
  void reduce_pending_gradients();
  void step_optimizer();

  RunContext& run_;
  bool has_gradients_ = false;
};

}  // namespace rtrain
