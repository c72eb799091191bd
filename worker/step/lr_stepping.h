// When learning-rate schedulers step.
#pragma once

#include "worker/run/run_context.h"

#include <cstdint>

namespace rtrain {

/// Lightning's places: a scheduler by steps right after the optimizer step, one by epochs after the last
/// batch of an epoch; ReduceLROnPlateau after the validation that follows the batch, or after the hooks of
/// the epoch's end, so that its metric is there. The frequency of one by steps counts the optimizer steps of
/// the fit (Lightning counts the batches of an epoch, and may never step). None under manual optimization.
class LRStepping {
 public:
  explicit LRStepping(RunContext& run) : run_(run) {}

  void after_optimizer_step(std::int64_t global_step) { step(Interval::kStep, false, global_step); }
  void after_validation_of_step(std::int64_t global_step) { step(Interval::kStep, true, global_step); }
  void after_last_batch() { step(Interval::kEpoch, false, run_.epochs.current.completed + 1); }
  /// @param epochs that are processed, this one among them. @param validated a validation ran in the epoch:
  ///        without one a metric that comes from it is not missed.
  void after_epoch(std::int64_t epochs, bool validated) {
    validated_ = validated;
    step(Interval::kEpoch, true, epochs);
  }

 private:
  void step(Interval interval, bool needs_metric, std::int64_t count);
  void step_by_metric(const LRSchedulerConfig& config);

  RunContext& run_;
  bool validated_ = true;
};

}  // namespace rtrain
