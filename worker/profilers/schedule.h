// Which steps a profiler records: torch.profiler.schedule().
#pragma once

#include <cstdint>

namespace rtrain::profilers {

enum class StepAction { kNone, kWarmUp, kRecord, kRecordAndSave };

struct Schedule {
  std::int64_t skip_first = 0, wait = 1, warmup = 1, active = 3, repeat = 0;
  /// @param step from 0.
  [[nodiscard]] constexpr StepAction at(std::int64_t step) const {
    if (step < skip_first) return StepAction::kNone;
    step -= skip_first;
    const auto cycle = wait + warmup + active;
    if (repeat > 0 && step / cycle >= repeat) return StepAction::kNone;
    const auto within = step % cycle;
    if (within < wait) return StepAction::kNone;
    if (within < wait + warmup) return StepAction::kWarmUp;
    return within < cycle - 1 ? StepAction::kRecord : StepAction::kRecordAndSave;
  }
};

}  // namespace rtrain::profilers
