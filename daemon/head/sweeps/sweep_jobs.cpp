// What a sweep does to the jobs of its trials.
#include "common/base/fault.h"
#include "common/log/log.h"
#include "daemon/core/sweep/trial_job.h"
#include "daemon/head/sweeps/sweeps.h"
#include "daemon/head/sweeps/trial_spec.h"

#include <algorithm>
#include <utility>

namespace rtrain::head {
namespace {

/// Trials of a sweep that one call starts; the next tick goes on.
constexpr int kStartsMax = 32;

bool searches_scheduling(const proto::SweepSpec& spec) {
  return std::ranges::any_of(spec.parameters, [](const proto::SweepParameter& parameter) {
    return parameter.path.starts_with("scheduling.");
  });
}

}  // namespace

// ---- what its events say ------------------------------------------------------------------------

void Sweeps::carry_out(JobId id, const core::SweepState& state, const proto::SweepEvent& event) {
  for (const auto& action : core::actions(state, event))
    std::visit([&](const auto& one) { on(id, one); }, action);
  // Jobs that wait in the queue may not start under a sweep that is paused or stops.
  if (std::holds_alternative<proto::SweepHeld>(event) ||
      std::holds_alternative<proto::SweepReleased>(event) ||
      std::holds_alternative<proto::SweepStopping>(event))
    settle(id);
}

void Sweeps::settle(JobId id) {
  for (std::int64_t number = 0; trial(id, number) != nullptr; ++number) settle(id, number);
}

void Sweeps::settle(JobId id, std::int64_t number) {
  const auto* known = trial(id, number);
  const auto* record = known == nullptr ? nullptr : context_.book.find(known->job);
  if (record == nullptr || core::is_terminal(record->state.phase)) return;
  const auto& state = book_.live(id)->state;
  if (auto stopped = core::given_up(state, number, record->state)) {
    take(id, std::move(*stopped));
    return;
  }
  if (auto due = core::due_for_job(state, number, record->state)) {
    turn_.post(record->state.id, std::move(*due));
    turn_.request_pass();
  }
}

const core::JobState* Sweeps::living_job(JobId id, std::int64_t number) const {
  const auto entry = book_.find(id);
  if (!entry || *entry == nullptr) return nullptr;
  const auto* record = context_.book.find((*entry)->state.trial(number).job);
  return record == nullptr || core::is_terminal(record->state.phase) ? nullptr : &record->state;
}

void Sweeps::on(JobId id, const core::SubmitTrial& submit) {
  unsubmitted_.erase({id, submit.trial});
  const auto* entry = book_.live(id);
  if (entry == nullptr) return;
  if (entry->state.phase == core::SweepPhase::kPaused) {
    unsubmitted_.insert({id, submit.trial});  // a clone: it is not to start before its sweep goes on
    return;
  }
  auto spec = trial_spec(entry->state, submit.trial);
  auto job = spec ? commands_.submit(std::move(*spec), entry->state.user, {}, std::nullopt,
                                     proto::SweepTrial{id, submit.trial})
                  : Result<JobId>(spec.error());
  if (job) {
    take(id, proto::TrialSubmitted{submit.trial, *job});
    return;
  }
  // Queue, reservation and what they depend on are all trials' own, unless they are searched: the next would
  // be refused as well.
  const bool shared = spec.has_value() && !searches_scheduling(*entry->state.spec);
  if (shared && job.error().code() != Errc::kUnavailable) {
    unsubmitted_.insert({id, submit.trial});
    log::warn("a sweep is paused: its jobs are refused",
              {{"sweep", to_string(id)}, {"cause", job.error().message()}});
    take(id, proto::SweepHeld{"the head", "its jobs are refused: " + job.error().message() +
                                              "; mend it, then rtrain sweep resume " + to_string(id)});
    return;
  }
  if (job.error().code() == Errc::kUnavailable) {
    unsubmitted_.insert({id, submit.trial});
    return;
  }
  log::warn(
      "the job of a trial cannot be submitted",
      {{"sweep", to_string(id)}, {"trial", std::to_string(submit.trial)}, {"cause", job.error().message()}});
  const proto::Json nothing;
  take(id, core::trial_ended(entry->state, {submit.trial, nothing, 0, false}, proto::TrialOutcome::kFailed,
                             "its job cannot be submitted: " + job.error().message()));
}

void Sweeps::on(JobId id, const core::PauseTrial& pause) {
  if (const auto* job = living_job(id, pause.trial)) {
    turn_.post(job->id, fault::on(fault::Fault::kPauseKeepsPlace)
                            ? proto::JobEvent(proto::JobHeld{core::sweep_name(*job), true})
                            : core::trial_paused(*job, pause.reason));
    turn_.request_pass();
  }
}

void Sweeps::on(JobId id, const core::ReleaseTrial& release) {
  if (fault::on(fault::Fault::kPromotionReleasesNone)) return;
  if (const auto* job = living_job(id, release.trial)) {
    turn_.post(job->id, proto::JobReleased{"sweep " + to_string(id), true});
    turn_.request_pass();
  }
}

void Sweeps::on(JobId id, const core::StopTrial& stop) {
  const auto* job = living_job(id, stop.trial);
  if (job == nullptr || fault::on(fault::Fault::kStopKeepsPlace)) return;
  // What pauses it may be posted and not applied yet: no attempt is asked twice.
  const auto entry = book_.find(id);
  const bool was_paused = (*entry)->state.trial(stop.trial).left_paused;
  turn_.post(job->id, was_paused ? proto::JobEvent(
                                       proto::CancelRequested{"sweep " + to_string(id) + ": " + stop.reason})
                                 : core::trial_stopped(*job, stop.reason, stop.checkpoint, stop.finished));
  turn_.request_pass();
}

void Sweeps::on(JobId id, const core::CloneTrial& clone) {
  update_pins(trial(id, clone.trial)->from->job);
  settle_replaced(id, clone.trial);
  on(id, core::SubmitTrial{clone.trial});
}

void Sweeps::settle_replaced(JobId id, std::int64_t number) {
  const auto& state = book_.live(id)->state;
  const auto* record = context_.book.find(state.trial(number).replaced);
  if (record == nullptr) return;
  if (auto due = core::due_for_replaced(state, number, record->state)) {
    turn_.post(record->state.id, std::move(*due));
    turn_.request_pass();
  }
}

// ---- what may start -----------------------------------------------------------------------------

/// The newest first, since those are the likeliest to wait, and no further than the answer needs.
std::int64_t Sweeps::waiting(const core::SweepState& state) const {
  std::int64_t count = 0, active = 0;
  for (auto trial = state.trials.rbegin();
       trial != state.trials.rend() && active < state.active && count < core::kWaitingMax; ++trial) {
    if (!core::is_active(trial->phase)) continue;
    ++active;
    if (trial->phase == core::TrialPhase::kStopping) continue;
    const auto* record = context_.book.find(trial->job);
    if (record == nullptr || (record->state.phase == core::JobPhase::kQueued && !record->state.paused))
      ++count;
  }
  return count;
}

bool Sweeps::submit_waiting(JobId id) {
  while (book_.live(id) == nullptr || book_.live(id)->state.phase != core::SweepPhase::kPaused) {
    const auto first = unsubmitted_.lower_bound({id, 0});
    if (first == unsubmitted_.end() || first->first != id) return true;
    const auto number = first->second;
    const auto* known = trial(id, number);
    if (known == nullptr || known->phase != core::TrialPhase::kSuggested) {
      unsubmitted_.erase({id, number});
      continue;
    }
    if (const auto& state = book_.live(id)->state; state.phase == core::SweepPhase::kStopping) {
      unsubmitted_.erase({id, number});
      const proto::Json nothing;
      take(id,
           core::trial_ended(state, {number, nothing, 0, false}, proto::TrialOutcome::kPruned, state.reason));
    } else {
      on(id, core::SubmitTrial{number});
      if (unsubmitted_.contains({id, number})) return false;  // there is no room yet
    }
    follow(id);
  }
  return false;
}

void Sweeps::refill(JobId id) {
  if (!submit_waiting(id)) return;
  // A trial whose job is refused makes room for the next at once, and agents wait for this thread.
  for (int started = 0; const auto* entry = book_.live(id); ++started) {
    if (started == kStartsMax) {
      cut_short_.insert(id);
      return;
    }
    if (!core::has_room(entry->state)) return;
    auto event = core::next(entry->state, waiting(entry->state));
    if (!event) return;
    const auto* promoted = std::get_if<proto::TrialPromoted>(&*event);
    const auto goes_on = promoted == nullptr ? std::nullopt : std::optional(promoted->trial);
    if (!take(id, std::move(*event))) return;
    follow(id);
    if (goes_on) judge_unheard(id, *goes_on);
  }
}

}  // namespace rtrain::head
