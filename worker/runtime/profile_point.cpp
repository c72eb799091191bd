#include "worker/runtime/profile_point.h"

#include <utility>

namespace rtrain::runtime {

std::optional<ProfilePoint::Refusal> ProfilePoint::ask(const Request& request, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (waiting_ || serving_) return Refusal{request.number, "the rank is being profiled already"};
  waiting_ = request;
  asked_at_ = now;
  asked_.store(true, std::memory_order_relaxed);
  return std::nullopt;
}

std::optional<ProfilePoint::Refusal> ProfilePoint::expire(Clock::time_point now) {
  if (!asked()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (!waiting_) return std::nullopt;
  std::string why;
  if (!in_fit_ && now >= asked_at_ + kFitWait)
    why = "the rank is in no Trainer::fit() (and none began within " + std::to_string(kFitWait.count()) +
          " s): it has not begun one, has ended it, or has a loop of its own";
  else if (now >= waiting_->until)
    why = "no training batch began in time: the rank validates, saves, or is within a step that takes longer";
  else
    return std::nullopt;
  Refusal refusal{waiting_->number, std::move(why)};
  waiting_.reset();
  asked_.store(false, std::memory_order_relaxed);
  return refusal;
}

void ProfilePoint::in_fit(bool begins) {
  const std::lock_guard lock(mutex_);
  in_fit_ = begins;
}

std::optional<ProfilePoint::Request> ProfilePoint::take() {
  const std::lock_guard lock(mutex_);
  if (!waiting_) return std::nullopt;
  serving_ = true;
  return std::exchange(waiting_, std::nullopt);
}

void ProfilePoint::done() {
  const std::lock_guard lock(mutex_);
  serving_ = false;
  asked_.store(waiting_.has_value(), std::memory_order_relaxed);
}

ProfilePoint& profile_point() {
  // never destroyed: the session's thread may look while exit() runs
  static auto* const point = new ProfilePoint;
  return *point;
}

}  // namespace rtrain::runtime
