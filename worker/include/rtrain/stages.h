// How a step reaches a plan whose ranks hold consecutive layers.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/communicator.h>
#include <rtrain/export.h>
#include <rtrain/plan.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>

namespace rtrain {

/// The stages of a pipeline, as far as this rank has them. A Plan that is Stages, too, has its batches go
/// through them: its backward() computes only what Step::backward asks for, and its reduce_gradients()
/// completes the gradients behind the last batch of an accumulation. Every rank of the pipeline makes the
/// same calls with the same batches.
/// @thread the training thread.
class RTRAIN_API Stages {
 public:
  virtual ~Stages() = default;

  /// What surrounds the layers.
  struct Step {
    /// On the ranks with the last stage: the module's step. In training @return the loss as backward gets it:
    /// scaled, and divided by the number of micro-batches.
    std::function<torch::Tensor(const Batch& micro_batch)> last{};
    /// Runs `layers` in the number types of the run.
    std::function<void(const std::function<void()>& layers)> forward{};
    /// On the ranks with the last stage: the backward of a micro-batch from what `last` returned. While it
    /// runs, the plan's backward() may be called. Null: autograd's.
    std::function<void(const torch::Tensor& loss)> backward{};
  };

  [[nodiscard]] virtual std::int64_t micro_batches() const = 0;  ///< of a batch in training
  [[nodiscard]] virtual bool has_last() const = 0;               ///< this rank has the last stage
  [[nodiscard]] virtual Communicator& ranks() const = 0;  ///< of the pipeline, by number of their stage
  /// Forward and backward of all micro-batches: gradients add up in this rank's parameters.
  /// @throws std::invalid_argument the batch cannot be cut (names both numbers).
  virtual void train(const Batch& batch, const Step& step) = 0;
  /// The forward of a whole batch. @return what `last` gave; undefined on the other ranks.
  virtual torch::Tensor evaluate(const Batch& batch, const Step& step) = 0;
};

/// Null: the plan computes batches at once.
[[nodiscard]] inline Stages* stages_of(Plan& plan) { return dynamic_cast<Stages*>(&plan); }

}  // namespace rtrain
