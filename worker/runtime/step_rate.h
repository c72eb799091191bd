// Steps a second, from where a loop says that it is.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace rtrain::runtime {

/// Pure: the times come in.
class StepRate {
 public:
  using Clock = std::chrono::steady_clock;
  /// `step` of `epoch` of `stage` is done. @return steps a second since an earlier call, the last known rate
  /// where it cannot be told (another epoch, no step since, too short a time); 0: not known yet.
  double at(const std::string& stage, std::int64_t epoch, std::int64_t step, Clock::time_point now);

 private:
  std::string stage_;
  std::int64_t epoch_ = 0, step_ = 0;
  Clock::time_point since_{};
  bool begun_ = false;
  double per_s_ = 0;
};

}  // namespace rtrain::runtime
