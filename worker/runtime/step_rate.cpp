#include "worker/runtime/step_rate.h"

namespace rtrain::runtime {

double StepRate::at(const std::string& stage, std::int64_t epoch, std::int64_t step, Clock::time_point now) {
  constexpr std::chrono::milliseconds kShortest{50};  // a shorter look says little
  if (begun_ && stage != stage_) per_s_ = 0;
  const bool same = begun_ && stage == stage_ && epoch == epoch_ && step >= step_;
  if (same) {
    if (step == step_ || now - since_ < kShortest) return per_s_;
    per_s_ = static_cast<double>(step - step_) / std::chrono::duration<double>(now - since_).count();
  }
  begun_ = true;
  stage_ = stage;
  epoch_ = epoch;
  step_ = step;
  since_ = now;
  return per_s_;
}

}  // namespace rtrain::runtime
