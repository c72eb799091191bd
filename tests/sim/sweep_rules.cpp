#include "tests/sim/sweep_rules.h"

#include "tests/sim/referee.h"
#include "tests/sim/undisturbed.h"

#include <algorithm>
#include <cmath>

namespace rtrain::sim {
namespace {

/// A head looks at limits of time once a second, and when it starts.
constexpr proto::UnixMs kLimitSlackMs = 1500;

std::string name_of(JobId id, std::int64_t trial) {
  return "trial " + std::to_string(trial) + " of sweep " + to_string(id);
}

/// The first report that comes to a rung at this resource: each epoch is reported.
std::int64_t first_epoch(double resource) {
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(resource - 1e-6)));
}

}  // namespace

const JobPlan& SweepRules::plan(const Known& known, std::int64_t trial) const {
  return workload_.plan(known.spec->name + "-" + std::to_string(trial));
}

// ---- as they are stored -------------------------------------------------------------------------

void SweepRules::job_stored(JobId job, const proto::SweepTrial& of) {
  trials_.emplace(job, of);
  if (cloned_.erase({of.sweep, of.trial}) > 0) trial_jobs_.erase({of.sweep, of.trial});
  const auto by = trial_jobs_.try_emplace({of.sweep, of.trial}, job).first->second;
  referee_.check(by == job, "a trial is submitted once, and again for each clone", [&] {
    return name_of(of.sweep, of.trial) + " is job " + to_string(by) + " and job " + to_string(job);
  });
}

void SweepRules::stored(JobId id, const proto::StampedSweepEvent& event) {
  if (const auto* submitted = std::get_if<proto::SweepSubmitted>(&event.event)) {
    auto& known = sweeps_[id];
    known.spec = std::make_shared<const proto::SweepSpec>(submitted->spec);
    known.schedule = std::make_shared<const core::Schedule>(known.spec->schedule, known.spec->seed);
    known.submitted_ms = event.at;
    return;
  }
  const auto known = sweeps_.find(id);
  referee_.check(known != sweeps_.end(), "a sweep replays",
                 [&] { return "sweep " + to_string(id) + " has events and was not submitted"; });
  if (known != sweeps_.end()) on(id, known->second, event.at, event.event);
}

void SweepRules::on(JobId id, Known& known, proto::UnixMs at, const proto::SweepEvent& event) {
  const auto decided = [&](std::int64_t trial) { decisions_.insert_or_assign({id, trial}, event); };
  if (const auto* suggested = std::get_if<proto::TrialSuggested>(&event)) {
    starts(id, known, at, suggested->trial);
  } else if (const auto* submitted = std::get_if<proto::TrialSubmitted>(&event)) {
    // Both are of one turn, and the job's event was appended before.
    const auto job = trial_jobs_.find({id, submitted->trial});
    referee_.check(
        disk_.find(submitted->job) != nullptr && job != trial_jobs_.end() && job->second == submitted->job,
        "a trial's job is durable with the trial",
        [&] { return name_of(id, submitted->trial) + " has job " + to_string(submitted->job); });
    known.jobs[submitted->trial] = submitted->job;
  } else if (const auto* rung = std::get_if<proto::RungReached>(&event)) {
    reached(id, known, *rung);
  } else if (const auto* paused = std::get_if<proto::TrialPaused>(&event)) {
    decided(paused->trial);
  } else if (const auto* promoted = std::get_if<proto::TrialPromoted>(&event)) {
    starts(id, known, at, promoted->trial);
    decided(promoted->trial);
  } else if (const auto* stopped = std::get_if<proto::TrialStopped>(&event)) {
    known.stopped[stopped->trial] = stopped->finished;
    decided(stopped->trial);
  } else if (const auto* cloned = std::get_if<proto::TrialCloned>(&event)) {
    cloned_.insert({id, cloned->trial});
  } else if (const auto* end = std::get_if<proto::TrialEnded>(&event)) {
    ended(id, known, *end);
    decisions_.erase({id, end->trial});
  } else if (std::holds_alternative<proto::SweepHeld>(event)) {
    known.paused = true;
  } else if (std::holds_alternative<proto::SweepReleased>(event)) {
    known.paused = false;
  } else if (std::holds_alternative<proto::SweepStopping>(event)) {
    known.stopping = true;
    known.paused = false;
  } else if (std::holds_alternative<proto::SweepEnded>(event)) {
    known.ended = true;
  }
}

void SweepRules::starts(JobId id, const Known& known, proto::UnixMs at, std::int64_t trial) {
  const auto described = [&](const char* why) {
    return [=] { return name_of(id, trial) + " starts, and the sweep " + why; };
  };
  referee_.check(!known.stopping && !known.ended, "a sweep that stops starts nothing", described("stops"));
  referee_.check(!known.paused, "a sweep that is paused starts nothing", described("is paused"));
  referee_.check(known.at_target < 0, "a limit that is hit ends a sweep", described("is at its target"));
  const auto& hours = known.spec->limits.hours;
  referee_.check(!hours || static_cast<double>(at - known.submitted_ms - kLimitSlackMs) < *hours * 3'600'000,
                 "a limit that is hit ends a sweep", described("is out of time"));
}

void SweepRules::reached(JobId id, Known& known, const proto::RungReached& event) {
  const auto described = [&] {
    return name_of(id, event.trial) + " comes to rung " + std::to_string(event.rung) + " at " +
           std::to_string(event.resource) + " with " + std::to_string(event.value.value_or(0));
  };
  referee_.check(known.rungs.insert({event.trial, event.rung}).second, "a trial comes to a rung once",
                 described);
  // Whatever the trial does beside it, and however often it does it again: else what is decided would depend
  // on how fast a worker yields, and on when a head dies.
  const auto resource = known.schedule->resource_of(event.trial, event.rung);
  const auto epoch = first_epoch(resource.value_or(0));
  referee_.check(resource && event.resource == static_cast<double>(epoch) && event.value &&
                     *event.value == loss(plan(known, event.trial).spec.name, epoch),
                 "the first report that comes to a rung is judged there", described);
  look_at_target(known, event.trial, event.value);
}

void SweepRules::ended(JobId id, Known& known, const proto::TrialEnded& event) {
  const auto stopped = known.stopped.find(event.trial);
  if (stopped != known.stopped.end()) {
    const auto right = stopped->second ? proto::TrialOutcome::kCompleted : proto::TrialOutcome::kPruned;
    referee_.check(event.outcome == right, "a trial that was stopped ends as it was stopped", [&] {
      return name_of(id, event.trial) + (stopped->second ? " had finished" : " was worse than others") +
             " and is " + std::string(proto::to_string(event.outcome));
    });
  }
  // One that was stopped keeps the value of its last rung.
  if (event.outcome == proto::TrialOutcome::kCompleted && stopped == known.stopped.end())
    look_at_target(known, event.trial, event.value);
}

void SweepRules::look_at_target(Known& known, std::int64_t trial, const std::optional<double>& value) {
  const auto& target = known.spec->limits.target;
  if (!target || !value || known.at_target >= 0) return;
  if (known.spec->maximize ? *value >= *target : *value <= *target) known.at_target = trial;
}

void SweepRules::placed(JobId job) {
  const auto of = trials_.find(job);
  if (of == trials_.end()) return;
  const auto& known = sweeps_.at(of->second.sweep);
  const auto described = [&](const char* why) {
    return [=, trial = of->second] {
      return "job " + to_string(job) + " of " + name_of(trial.sweep, trial.trial) + " is placed, and " + why;
    };
  };
  referee_.check(!known.paused, "a job of a sweep that is paused is not placed",
                 described("the sweep is paused"));
  referee_.check(!known.ended && !known.stopped.contains(of->second.trial),
                 "a job of a trial that was stopped is not placed", described("the trial was stopped"));
}

void SweepRules::committed() {
  for (const auto& [of, decision] : std::exchange(decisions_, {}))
    check_carried_out(of.first, sweeps_.at(of.first), decision);
}

void SweepRules::check_carried_out(JobId id, const Known& known, const proto::SweepEvent& decision) {
  std::int64_t trial = 0;
  bool done = true;
  const auto job_of = [&](std::int64_t number) {
    trial = number;
    const auto found = known.jobs.find(number);
    const auto* job = found == known.jobs.end() ? nullptr : disk_.find(found->second);
    return job == nullptr || job->end ? nullptr : job;
  };
  if (const auto* paused = std::get_if<proto::TrialPaused>(&decision)) {
    if (const auto* job = job_of(paused->trial))
      done = job->cancelled || (job->paused && (job->over >= job->placed || job->stopping >= job->placed));
  } else if (const auto* promoted = std::get_if<proto::TrialPromoted>(&decision)) {
    if (const auto* job = job_of(promoted->trial)) done = !job->paused || known.paused || known.stopping;
  } else if (const auto* stopped = std::get_if<proto::TrialStopped>(&decision)) {
    if (const auto* job = job_of(stopped->trial))
      done = job->cancelled || (job->placed > job->over && job->stopping >= job->placed);
  }
  referee_.check(done, "a decision is durable with what it makes of the job", [&] {
    return name_of(id, trial) + ": " + std::string(event_name(decision)) + " is on disk, and its job " +
           to_string(known.jobs.at(trial)) + " was not told";
  });
}

// ---- at the end of a run ------------------------------------------------------------------------

void SweepRules::check_disk() {
  for (const auto& [id, sweep] : disk_.sweeps()) {
    check_sweep(id, sweep);
    compare(id, sweep);
  }
}

/// What the disk says of a sweep: its searcher gives the same trials again, each decision is the one that its
/// schedule takes, and what its trials were is what their jobs were.
void SweepRules::check_sweep(JobId id, const Disk::Sweep& sweep) {
  const auto described = [&](const std::string& what) {
    return [=] { return "sweep " + to_string(id) + ": " + what; };
  };
  auto state = core::submitted_sweep(id.value(), std::get<proto::SweepSubmitted>(sweep.events.front().event));
  for (std::size_t i = 1; i < sweep.events.size(); ++i) {
    const auto& event = sweep.events[i].event;
    const std::string name(event_name(event));
    // As `rtraind fsck` does.
    if (const auto* suggested = std::get_if<proto::TrialSuggested>(&event);
        suggested != nullptr && suggested->by == proto::to_string(state.spec->search.method)) {
      const auto again = core::suggest(state);
      referee_.check(
          again && again->params == suggested->params && again->generation == suggested->generation,
          "a searcher gives the same trial again", described("trial " + std::to_string(suggested->trial)));
    }
    if (const auto* rung = std::get_if<proto::RungReached>(&event))
      referee_.check(rung->rung == state.trial(rung->trial).rung + 1 ||
                         state.spec->schedule.kind == proto::ScheduleKind::kMedian ||
                         state.spec->schedule.kind == proto::ScheduleKind::kPbt,
                     "no rung is skipped", described("trial " + std::to_string(rung->trial)));
    const auto* cloned = std::get_if<proto::TrialCloned>(&event);
    // Which checkpoint there is for another member, the jobs know: the one that was taken, or none.
    const auto find = [&](std::int64_t, std::int64_t donor) {
      if (cloned == nullptr || cloned->donor != donor) return std::optional<proto::CheckpointRecord>();
      const auto resource = proto::resource_name(*state.spec);
      return std::optional(proto::CheckpointRecord{cloned->checkpoint, 0, {{resource, cloned->resource}}});
    };
    const auto due = state.undecided >= 0 ? core::follow_up(state, find) : std::nullopt;
    if (due)
      referee_.check(event_name(*due) == name, "what a rung decides is stored next",
                     described(std::string(event_name(*due)) + " was due, and " + name + " came"));
    if (cloned != nullptr)
      referee_.check(due && proto::to_json(proto::StampedSweepEvent{0, *due}) ==
                                proto::to_json(proto::StampedSweepEvent{0, event}),
                     "a clone is drawn the same again", described("trial " + std::to_string(cloned->trial)));
    const auto done = core::fold(state, event);
    referee_.check(done.has_value(), "a sweep replays",
                   described(name + ": " + (done ? "" : done.error().message())));
    if (!done) return;
  }
  referee_.check(core::is_terminal(state.phase) == !sweep.row.is_null(), "a sweep is stored as it ended",
                 described(""));
  for (std::size_t i = 0; i < state.trials.size(); ++i)
    if (state.trials[i].job.value() != 0)
      check_job("sweep " + to_string(id), state, static_cast<std::int64_t>(i));
}

void SweepRules::check_job(const std::string& sweep, const core::SweepState& state, std::int64_t number) {
  const auto& trial = state.trial(number);
  const auto described = [&](const std::string& what) {
    return [=, text = std::string(core::to_string(trial.phase)), job = trial.job] {
      return sweep + ": job " + to_string(job) + " of trial " + std::to_string(number) + ", which is " +
             text + ", " + what;
    };
  };
  const auto* job = disk_.find(trial.job);
  referee_.check(job != nullptr, "a trial's job is durable with the trial", described("is not there"));
  if (job == nullptr) return;
  if (!core::is_terminal(state.phase)) {
    if (job->end) return;
    // Decisions and what they make of jobs are durable together.
    const bool waits = trial.phase == core::TrialPhase::kPaused || state.phase == core::SweepPhase::kPaused;
    return referee_.check(trial.phase == core::TrialPhase::kPaused ? job->paused : waits || !job->paused,
                          "a job is paused as long as its trial or its sweep is",
                          described(job->paused ? "is paused" : "is not paused"));
  }
  referee_.check(job->end.has_value(), "no job outlives its sweep",
                 described("is " + std::string(core::to_string(disk_.state(trial.job).phase))));
  const bool agree = trial.phase == core::TrialPhase::kFailed ? job->end == core::JobPhase::kFailed
                     : trial.phase == core::TrialPhase::kCompleted
                         ? trial.finished || job->end == core::JobPhase::kSucceeded
                     : trial.phase == core::TrialPhase::kCancelled ? job->end == core::JobPhase::kCancelled
                                                                   : true;
  referee_.check(agree, "a trial ends as its job does",
                 described(job->end ? "is " + std::string(core::to_string(*job->end)) : "is not at its end"));
}

void SweepRules::compare(JobId id, const Disk::Sweep& sweep) {
  const auto& known = sweeps_.at(id);
  // Whether a donor has a checkpoint when it is asked for depends on when its job wrote one.
  if (known.spec->schedule.kind == proto::ScheduleKind::kPbt) return;
  const auto comparison = compare_with_undisturbed(
      sweep.events, [&](std::int64_t trial) -> const JobPlan& { return plan(known, trial); });
  compared_ += comparison.decisions;
  referee_.check(comparison.difference.empty(), "a sweep decides as it does when nothing goes wrong",
                 [&] { return "sweep " + to_string(id) + ": " + comparison.difference; });
}

}  // namespace rtrain::sim
