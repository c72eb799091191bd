// Sweeps at a start of the head.
#include "common/base/fault.h"
#include "common/log/log.h"
#include "daemon/core/sweep/trial_job.h"
#include "daemon/head/sweeps/sweeps.h"

#include <utility>

namespace rtrain::head {

void Sweeps::recover(std::vector<store::SweepRecord> sweeps, const std::vector<store::Document>& documents) {
  book_.recover(std::move(sweeps), documents);
  std::vector<JobId> ids;
  for (const auto& [id, entry] : book_.all_live()) ids.push_back(id);
  enter([this, ids] {
    cancel_unknown();
    for (const auto id : ids) {
      for (std::int64_t number = 0; trial(id, number) != nullptr; ++number) recover_trial(id, number);
      look_at_limits(id);  // it may have been hit while no head was there
      follow(id);
      refill(id);
    }
  });
}

/// Submission of a job and its place in the sweep are stored together; they part only when `rtraind recover`
/// could not read all of the sweep.
void Sweeps::cancel_unknown() {
  std::vector<JobId> unknown;
  for (const auto& [id, record] : context_.book.all()) {
    const auto& of = record.state.sweep;
    if (!of || core::is_terminal(record.state.phase) || trial_of(id)) continue;
    const auto* entry = book_.live(of->sweep);
    const auto* known = trial(of->sweep, of->trial);
    const bool was_replaced = known != nullptr && known->replaced == id;
    const bool ends = record.state.yield && record.state.yield->cause == proto::YieldCause::kReplaced;
    if (entry != nullptr && !was_replaced && !ends) unknown.push_back(id);
  }
  for (const auto id : unknown) {
    const auto sweep = to_string(context_.state(id).sweep->sweep);
    log::warn("a job that its sweep does not know of is cancelled",
              {{"job", to_string(id)}, {"sweep", sweep}});
    turn_.post(id, proto::CancelRequested{"sweep " + sweep + ", which does not know of it any more"});
  }
}

void Sweeps::recover_trial(JobId id, std::int64_t number) {
  const auto* known = trial(id, number);
  if (core::has_ended(known->phase)) return;
  if (const auto& from = known->from) {
    // What its agent hears when it comes back.
    if (auto pins = pins_of(from->job); !pins.empty()) pinned_.insert_or_assign(from->job, std::move(pins));
  }
  settle_replaced(id, number);
  if (known->phase == core::TrialPhase::kSuggested) {
    unsubmitted_.insert({id, number});
    return;
  }
  if (fault::on(fault::Fault::kTrialSubmittedTwice)) on(id, core::SubmitTrial{number});
  const auto job = known->job;
  const auto* record = context_.book.find(job);
  if (record == nullptr) {
    const proto::Json nothing;
    take(id,
         core::trial_ended(book_.live(id)->state, {number, nothing, 0, false}, proto::TrialOutcome::kFailed,
                           "nothing is known of job " + to_string(job) + ", which trained it"));
    return follow(id);
  }
  const auto state = record->state;
  if (known->phase == core::TrialPhase::kRunning) judge_again(id, number, state);
  if (core::is_terminal(state.phase)) return end_trial(id, number, job);
  // They part when `rtraind recover` found the events of one and not those of the other.
  settle(id, number);
}

/// A report may be durable that no rung was reached by before the head died. Those since the last rung are
/// told again; what may start then is seen to once for the whole sweep.
std::int64_t Sweeps::judge_again(JobId id, std::int64_t number, const core::JobState& job) {
  constexpr int kPage = 1000;
  const auto& state = book_.live(id)->state;
  if (!state.schedule.has_rungs() || fault::on(fault::Fault::kReportsNotJudgedAgain)) return job.reports;
  Report report{id, number, job.id, {}, state.trial(number).reports, pinnable(job) != nullptr};
  for (bool more = true; more;) {
    auto page = context_.store.history.metrics(job.id, report.reports, kPage);
    if (!page) {
      log::error("the reports of a trial cannot be read, so that it is judged by its next one",
                 {{"job", to_string(job.id)}, {"cause", page.error().message()}});
      break;
    }
    for (auto& point : page->points) {
      report.metrics = std::move(point.metrics);
      ++report.reports;
      judge(report);
    }
    more = page->more && !page->points.empty();
  }
  return report.reports;
}

void Sweeps::judge_unheard(JobId id, std::int64_t number) {
  const auto* known = trial(id, number);
  if (known == nullptr || known->phase != core::TrialPhase::kRunning) return;
  const auto reports = std::exchange(unheard_[{id, number}], {});
  unheard_.erase({id, number});
  const auto* job = living_job(id, number);
  if (job == nullptr) return;
  // The newest ones may be on their way to the store.
  const auto told = judge_again(id, number, *job);
  for (const auto& report : reports)
    if (report.reports > told) judge(report);
  // It may have paused again, and go on with what none of its rungs has taken.
  known = trial(id, number);
  if (known == nullptr || known->phase != core::TrialPhase::kPaused) return;
  for (const auto& report : reports)
    if (report.reports > known->reports) unheard_[{id, number}].push_back(report);
}

}  // namespace rtrain::head
