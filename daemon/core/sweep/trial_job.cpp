#include "daemon/core/sweep/trial_job.h"

#include "common/base/fault.h"

namespace rtrain::core {
namespace {

/// It is ending, and not to be placed again.
bool ends(const JobState& job) {
  return job.cancel_requested || (job.yield && !job.yield->retry && has_attempt(job.phase));
}

}  // namespace

std::optional<proto::JobEvent> due_for_job(const SweepState& sweep, std::int64_t trial, const JobState& job) {
  if (is_terminal(job.phase)) return std::nullopt;
  const auto& state = sweep.trial(trial);
  const auto event = [](proto::JobEvent due) { return std::optional(std::move(due)); };
  switch (state.phase) {
    case TrialPhase::kStopping:
      if (ends(job)) return std::nullopt;
      return trial_stopped(job, state.reason, state.finished || sweep.spec->checkpoint_pruned,
                           state.finished);
    case TrialPhase::kPaused:
      if (job.paused || ends(job)) return std::nullopt;
      return trial_paused(job, state.reason);
    case TrialPhase::kRunning:
      // What runs goes on while its sweep is paused; what comes back into the queue waits with the others.
      if (sweep.phase == SweepPhase::kPaused && !fault::on(fault::Fault::kPausedSweepPlaces))
        return job.paused || job.phase != JobPhase::kQueued ? std::nullopt
                                                            : event(proto::JobHeld{sweep_name(job), true});
      return job.paused ? event(proto::JobReleased{sweep_name(job), true}) : std::nullopt;
    default: return std::nullopt;
  }
}

std::optional<proto::JobEvent> due_for_replaced(const SweepState& sweep, std::int64_t trial,
                                                const JobState& job) {
  if (is_terminal(job.phase) || ends(job)) return std::nullopt;
  return trial_replaced(job, clone_text(sweep, trial));
}

std::optional<proto::TrialStopped> given_up(const SweepState& sweep, std::int64_t trial,
                                            const JobState& job) {
  const auto& state = sweep.trial(trial);
  if (sweep.phase != SweepPhase::kStopping || state.phase != TrialPhase::kRunning ||
      job.phase != JobPhase::kQueued)
    return std::nullopt;
  return proto::TrialStopped{trial, state.rung, false, sweep.reason};
}

}  // namespace rtrain::core
