#include "daemon/head/attempts/attempt_timers.h"

#include "common/log/log.h"

#include <algorithm>

namespace rtrain::head {

void AttemptTimers::on_placed(JobId id) {
  if (const auto limit = context_.state(id).spec->scheduling.time_limit_s)
    context_.deadlines.set(id, DueFor::kTimeLimit, context_.now() + from_seconds(*limit));
}

void AttemptTimers::on_ended(JobId id) {
  for (const auto what : {DueFor::kTimeLimit, DueFor::kYieldGrace}) context_.deadlines.clear(id, what);
}

void AttemptTimers::on_queued(JobId id) {
  const auto wait_ms = context_.state(id).not_before_ms - context_.wall();
  if (wait_ms > 0)
    context_.deadlines.set(id, DueFor::kRetry, context_.now() + std::chrono::milliseconds(wait_ms));
}

void AttemptTimers::on_time_limit(JobId id) {
  const auto& state = context_.state(id);
  if (!core::is_live(state.phase)) return;
  log::info("time limit reached", {{"job", to_string(id)}, {"attempt", to_string(state.attempt)}});
  turn_.post(id, proto::TimeLimitReached{state.attempt, state.spec->scheduling.time_limit_s.value_or(0)});
}

void AttemptTimers::recover(const core::JobState& state) {
  auto& deadlines = context_.deadlines;
  const auto now = context_.now();
  if (state.phase == core::JobPhase::kQueued && state.not_before_ms != 0) {
    // A clock that jumped back must not make the job wait for years.
    const double wait_s = std::min(static_cast<double>(state.not_before_ms - context_.wall()) / 1000,
                                   core::back_off_s(state.failed_in_row));
    if (wait_s > 0) deadlines.set(state.id, DueFor::kRetry, now + from_seconds(wait_s));
  }
  if (const auto limit = state.spec->scheduling.time_limit_s; limit && core::is_live(state.phase)) {
    const double ran_s = static_cast<double>(context_.wall() - state.placed_ms) / 1000;
    deadlines.set(state.id, DueFor::kTimeLimit, now + from_seconds(std::clamp(*limit - ran_s, 0.0, *limit)));
  }
  if (state.phase == core::JobPhase::kStopping && state.yield && state.yield->checkpoint)
    deadlines.set(state.id, DueFor::kYieldGrace, now + from_seconds(state.yield->grace_s));
}

}  // namespace rtrain::head
