#include "daemon/core/sweep/sweep.h"

#include "common/base/fault.h"
#include "daemon/core/sweep/warm_start.h"
#include "proto/sweep/sweep_reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace rtrain::core {
namespace {

/// What is out of its bounds ranks below all that is not.
double ranked_loss(double violation, double loss) {
  if (violation > 0) return kWorstLoss;
  return loss;
}

using proto::SweepOutcome;
using proto::TrialOutcome;

constexpr std::array<std::string_view, 6> kSweepPhases{"RUNNING",   "PAUSED", "STOPPING",
                                                       "SUCCEEDED", "FAILED", "CANCELLED"};
constexpr std::array<std::string_view, 9> kTrialPhases{
    "SUGGESTED", "RUNNING", "PAUSED", "STOPPING", "COMPLETED", "PRUNED", "FAILED", "INVALID", "CANCELLED"};

Error refused(const std::string& what) { return fail(Errc::kConflict, what); }

double loss_of(const SweepState& state, const std::optional<double>& value) {
  if (!value || !std::isfinite(*value)) return kWorstLoss;
  return state.spec->maximize ? -*value : *value;
}

double violation_of(const SweepState& state, const std::map<std::string, double>& reported) {
  double sum = 0;
  for (const auto& [metric, constraint] : state.spec->constraints) {
    const auto found = reported.find(metric);
    // Nothing says that it is within its bounds.
    if (found == reported.end() || !std::isfinite(found->second)) return kWorstLoss;
    if (constraint.max) sum += std::max(0.0, found->second - *constraint.max);
    if (constraint.min) sum += std::max(0.0, *constraint.min - found->second);
  }
  return sum;
}

TrialPhase phase_of(TrialOutcome outcome) {
  switch (outcome) {
    case TrialOutcome::kCompleted: return TrialPhase::kCompleted;
    case TrialOutcome::kPruned: return TrialPhase::kPruned;
    case TrialOutcome::kFailed: return TrialPhase::kFailed;
    case TrialOutcome::kInvalid: return TrialPhase::kInvalid;
    case TrialOutcome::kCancelled: return TrialPhase::kCancelled;
  }
  return TrialPhase::kCancelled;
}

/// Better trials first: those that hold their constraints, those that came further, the smaller loss, the
/// older. Further by resource: brackets count their rungs from different ones.
auto standing(const SweepState& state, std::int64_t number) {
  const auto& trial = state.trial(number);
  return std::tuple(trial.violation, -trial.reached, trial.loss, number);
}

bool has_standing(const SweepState& state, std::int64_t number) {
  const auto& trial = state.trial(number);
  return std::isfinite(trial.loss) && trial.phase != TrialPhase::kFailed &&
         trial.phase != TrialPhase::kInvalid;
}

/// Any trial may hit the target, also one that did not come as far as the best.
void look_at_target(SweepState& state, std::int64_t number) {
  const auto& limit = state.spec->limits.target;
  if (!limit) return;
  const auto& trial = state.trial(number);
  const double target = state.spec->maximize ? -*limit : *limit;
  const bool hit = has_standing(state, number) && trial.violation == 0 && trial.loss <= target;
  if (hit && state.at_target < 0) state.at_target = number;
  if (!hit && state.at_target == number) state.at_target = -1;
}

/// The trial's value or phase changed: is it the best now, or no more?
void look_at_best(SweepState& state, std::int64_t number) {
  look_at_target(state, number);
  const auto before = state.best;
  if (number == state.best) {  // it may have become worse
    state.best = -1;
    for (std::int64_t other = 0; other < static_cast<std::int64_t>(state.trials.size()); ++other)
      if (has_standing(state, other) &&
          (state.best < 0 || standing(state, other) < standing(state, state.best)))
        state.best = other;
  } else if (has_standing(state, number) &&
             (state.best < 0 || standing(state, number) < standing(state, state.best))) {
    state.best = number;
  }
  if (state.best != before) state.not_better_in_row = 0;
}

/// Applies one event; every function checks before it changes anything.
class Step {
 public:
  explicit Step(SweepState& state) : state_(state) {}

  Result<Done> operator()(const proto::SweepSubmitted&) { return refused("the sweep was submitted already"); }

  Result<Done> operator()(const proto::TrialSuggested& event) {
    if (state_.phase != SweepPhase::kRunning && !fault::on(fault::Fault::kStoppedSweepStarts))
      return refused("nothing new starts in this phase");
    if (event.trial != static_cast<std::int64_t>(state_.trials.size()))
      return refused("trial " + std::to_string(event.trial) + " is not the next");
    auto point = state_.space->point_of(event.params);
    if (!point) return point.error().in("trial " + std::to_string(event.trial));
    const bool searched = event.by == proto::to_string(state_.spec->search.method);
    if (!searched && !state_.queue.empty()) state_.queue.pop_front();
    if (searched) ++state_.searched;
    TrialState trial;
    trial.point = std::move(*point);
    trial.by = event.by;
    trial.generation = searched ? event.generation : -1;
    state_.trials.push_back(std::move(trial));
    ++state_.active;
    return ok();
  }

  Result<Done> operator()(const proto::TrialSubmitted& event) {
    auto* trial = find(event.trial);
    if (trial == nullptr || !is_active(trial->phase)) return no_such(event.trial);
    if (trial->phase == TrialPhase::kSuggested) trial->phase = TrialPhase::kRunning;
    trial->job = event.job;
    return ok();
  }

  Result<Done> operator()(const proto::RungReached& event) {
    auto* trial = find(event.trial);
    if (trial == nullptr || trial->phase != TrialPhase::kRunning) return no_such(event.trial);
    if (event.rung <= trial->rung && !fault::on(fault::Fault::kRedoneWorkDecides))
      return refused("the trial was at rung " + std::to_string(event.rung) + " before");
    const auto rung_resource = state_.schedule.resource_of(event.trial, event.rung);
    if (!rung_resource) return no_rung(event.trial, event.rung);
    trial->rung = event.rung;
    ++trial->rungs;
    trial->reached = *rung_resource;
    trial->resource = event.resource;
    trial->reports = event.reports;
    trial->loss = loss_of(state_, event.value);
    trial->violation = violation_of(state_, event.constraints);
    state_.schedule.enter(event.trial, event.rung, ranked_loss(trial->violation, trial->loss),
                          event.checkpoint);
    look_at_best(state_, event.trial);
    state_.undecided = event.trial;
    return ok();
  }

  Result<Done> operator()(const proto::TrialPaused& event) {
    auto* trial = find(event.trial);
    if (trial == nullptr || trial->phase != TrialPhase::kRunning) return no_such(event.trial);
    trial->phase = TrialPhase::kPaused;
    trial->reason = event.reason;
    --state_.active;
    return ok();
  }

  Result<Done> operator()(const proto::TrialPromoted& event) {
    auto* trial = find(event.trial);
    if (trial == nullptr || trial->phase != TrialPhase::kPaused) return no_such(event.trial);
    if (!state_.schedule.resource_of(event.trial, event.rung)) return no_rung(event.trial, event.rung);
    if (event.rung != trial->rung)
      return refused("trial " + std::to_string(event.trial) + " is paused at rung " +
                     std::to_string(trial->rung) + ", not at rung " + std::to_string(event.rung));
    trial->phase = TrialPhase::kRunning;
    trial->reason = event.reason;
    state_.schedule.promote(event.trial, event.rung);
    ++state_.active;
    return ok();
  }

  Result<Done> operator()(const proto::TrialStopped& event) {
    auto* trial = find(event.trial);
    if (trial == nullptr || trial->phase != TrialPhase::kRunning) return no_such(event.trial);
    trial->phase = TrialPhase::kStopping;
    trial->finished = event.finished;
    trial->reason = event.reason;
    return ok();
  }

  Result<Done> operator()(const proto::TrialCloned& event) {
    auto* trial = find(event.trial);
    if (trial == nullptr || trial->phase != TrialPhase::kRunning) return no_such(event.trial);
    const auto* donor = find(event.donor);
    if (donor == nullptr || event.donor == event.trial) return no_such(event.donor);
    if (donor->job.value() == 0 || event.checkpoint.empty())
      return refused("trial " + std::to_string(event.donor) + " has no checkpoint");
    auto point = state_.space->point_of(event.params);
    if (!point) return point.error().in("trial " + std::to_string(event.trial));
    trial->from = CloneSource{event.donor, donor->job, event.checkpoint};
    trial->replaced = std::exchange(trial->job, JobId());
    trial->phase = TrialPhase::kSuggested;
    trial->point = std::move(*point);
    trial->reason = event.reason;
    // It is where the checkpoint is, before or behind of where it was, and nobody knows what its parameters
    // are worth.
    trial->resource = event.resource;
    // Its rungs go on: one that is thrown back comes to a new rung before it is judged again. Members whose
    // values get worse as they train, because they overfit, would clone each other for ever.
    trial->rung =
        std::max(trial->rung, state_.schedule.rung_at(event.trial, -1, event.resource).value_or(-1));
    trial->reached = state_.schedule.resource_of(event.trial, trial->rung).value_or(0);
    trial->reports = 0;
    trial->loss = kWorstLoss;
    trial->violation = 0;
    state_.schedule.cloned(event.trial);
    look_at_best(state_, event.trial);
    return ok();
  }

  Result<Done> operator()(const proto::TrialEnded& event) {
    auto* trial = find(event.trial);
    if (trial == nullptr || has_ended(trial->phase)) return no_such(event.trial);
    if (is_active(trial->phase)) --state_.active;
    trial->phase = phase_of(event.outcome);
    if (!event.error.empty()) trial->reason = event.error;
    if (event.value || event.outcome == TrialOutcome::kCompleted) take_value(*trial, event);
    count_outcome(event);
    return ok();
  }

  Result<Done> operator()(const proto::TrialEnqueued& event) {
    if (auto open = still_open(); !open) return open;
    // A grid tries each of its points once: what is enqueued comes beside them.
    if (!state_.grid && trials_to_give(state_) == 0)
      return refused("all of its " + std::to_string(state_.trials_max) +
                     " trials (limits.trials) have their parameters or wait for their turn");
    if (const auto point = state_.space->completed(event.params, 0, 0); !point) return point.error();
    if (state_.grid) ++state_.trials_max;
    state_.queue.push_back(event);
    return ok();
  }
  Result<Done> operator()(const proto::SweepHeld& event) {
    if (state_.phase != SweepPhase::kRunning) return refused("the sweep does not run");
    state_.phase = SweepPhase::kPaused;
    state_.reason = event.reason;
    return ok();
  }
  Result<Done> operator()(const proto::SweepReleased&) {
    if (state_.phase != SweepPhase::kPaused) return refused("the sweep is not paused");
    state_.phase = SweepPhase::kRunning;
    state_.reason.clear();
    return ok();
  }
  Result<Done> operator()(const proto::SweepExtended& event) {
    if (auto open = still_open(); !open) return open;
    const auto most = std::max<std::int64_t>(
        0, (state_.grid ? state_.grid->size() : proto::kTrialsMax) - state_.trials_max);
    if (event.trials < 1 || event.trials > most)
      return refused("it can be extended by 1 to " + std::to_string(most) + " trials");
    state_.trials_max += event.trials;
    return ok();
  }
  Result<Done> operator()(const proto::SweepStopping& event) {
    if (is_terminal(state_.phase) || (state_.phase == SweepPhase::kStopping && !event.now))
      return refused("the sweep ends already");
    state_.phase = SweepPhase::kStopping;
    state_.reason = event.reason;
    state_.outcome = event.outcome;
    if (event.now)
      for (auto& trial : state_.trials)
        if (trial.phase == TrialPhase::kRunning)
          trial.phase = TrialPhase::kStopping, trial.reason = event.reason;
    return ok();
  }
  Result<Done> operator()(const proto::SweepEnded& event) {
    if (is_terminal(state_.phase)) return refused("the sweep has ended");
    if (state_.active > 0) return refused("a trial runs");
    state_.phase = event.outcome == SweepOutcome::kSucceeded ? SweepPhase::kSucceeded
                   : event.outcome == SweepOutcome::kFailed  ? SweepPhase::kFailed
                                                             : SweepPhase::kCancelled;
    state_.reason = event.reason;
    for (auto& trial : state_.trials)
      if (trial.phase == TrialPhase::kPaused) trial.phase = TrialPhase::kPruned, trial.left_paused = true;
    return ok();
  }

 private:
  Result<Done> still_open() const {
    if (is_terminal(state_.phase)) return refused("the sweep has ended");
    if (state_.phase == SweepPhase::kStopping) return refused("the sweep stops");
    return ok();
  }
  TrialState* find(std::int64_t number) {
    return number >= 0 && number < static_cast<std::int64_t>(state_.trials.size())
               ? &state_.trials[static_cast<std::size_t>(number)]
               : nullptr;
  }
  Error no_such(std::int64_t number) {
    const auto* trial = find(number);
    return refused("trial " + std::to_string(number) +
                   (trial == nullptr ? " does not exist" : " is " + std::string(to_string(trial->phase))));
  }
  static Error no_rung(std::int64_t number, int rung) {
    return refused("the schedule has no rung " + std::to_string(rung) + " for trial " +
                   std::to_string(number));
  }

  /// What a trial that completed came to, rung by rung: it may have been told to pause and was quicker.
  void come_to_rungs(std::int64_t number) {
    auto& trial = state_.trials[static_cast<std::size_t>(number)];
    while (const auto rung = state_.schedule.rung_at(number, trial.rung, trial.resource)) {
      trial.rung = *rung;
      trial.reached = state_.schedule.resource_of(number, *rung).value_or(trial.reached);
      state_.schedule.enter(number, *rung, ranked_loss(trial.violation, trial.loss), false);
    }
  }

  void take_value(TrialState& trial, const proto::TrialEnded& event) {
    // A trial that was stopped at a rung is judged by its value there, also when it was stopped because it
    // has all: how much further it came before it yielded depends on its worker.
    if (trial.rung >= 0 && (trial.finished || event.outcome != TrialOutcome::kCompleted)) return;
    trial.loss = loss_of(state_, event.value);
    trial.resource = std::max(trial.resource, event.resource);
    trial.violation = violation_of(state_, event.constraints);
  }

  void count_outcome(const proto::TrialEnded& event) {
    const auto number = event.trial;
    const auto& trial = state_.trial(number);
    if (event.outcome != TrialOutcome::kInvalid) state_.invalid_in_row = 0;
    switch (event.outcome) {
      case TrialOutcome::kInvalid:
        ++state_.invalid;
        ++state_.invalid_in_row;
        state_.schedule.withdraw(number);
        return look_at_best(state_, number);
      case TrialOutcome::kFailed:
        ++state_.failed_in_row;
        state_.schedule.fail(number, trial.rung);
        return look_at_best(state_, number);
      case TrialOutcome::kCompleted:
        come_to_rungs(number);
        state_.schedule.complete(number);
        break;
      case TrialOutcome::kPruned:
      case TrialOutcome::kCancelled: state_.schedule.end(number); break;
    }
    if (event.outcome == TrialOutcome::kCancelled) return;
    state_.failed_in_row = 0;
    look_at_best(state_, number);
    if (number != state_.best) ++state_.not_better_in_row;
    if (state_.cmaes && trial.generation >= 0)
      state_.cmaes->on_loss(*state_.space, trial.point, trial.generation,
                            ranked_loss(trial.violation, trial.loss));
  }

  SweepState& state_;
};

}  // namespace

std::string_view to_string(SweepPhase phase) { return kSweepPhases[static_cast<std::size_t>(phase)]; }
std::string_view to_string(TrialPhase phase) { return kTrialPhases[static_cast<std::size_t>(phase)]; }
bool is_terminal(SweepPhase phase) { return phase > SweepPhase::kStopping; }
bool has_ended(TrialPhase phase) { return phase > TrialPhase::kStopping; }
bool is_active(TrialPhase phase) { return !has_ended(phase) && phase != TrialPhase::kPaused; }

bool TrialState::is_unjudged_clone() const { return from && reports == 0 && !std::isfinite(loss); }

double TrialState::value(bool maximize) const {
  if (!std::isfinite(loss)) return std::numeric_limits<double>::quiet_NaN();
  return maximize ? -loss : loss;
}

std::int64_t trials_to_give(const SweepState& state) {
  const auto given = static_cast<std::int64_t>(state.trials.size() + state.queue.size()) - state.invalid;
  return std::max<std::int64_t>(0, state.trials_max - given);
}

SweepState submitted_sweep(std::int64_t id, const proto::SweepSubmitted& event) {
  auto spec = std::make_shared<const proto::SweepSpec>(event.spec);
  auto space = std::make_shared<const Space>(spec->parameters);
  SweepState state{.id = id,
                   .spec = spec,
                   .space = space,
                   .grid = {},
                   .user = event.user,
                   .submission = event.submission,
                   .trials = {},
                   .queue = {},
                   .known = std::make_shared<const std::vector<Observation>>(
                       observations_of(event.known, *space, spec->maximize)),
                   .trials_max = spec->limits.trials,
                   .reason = {},
                   .schedule = Schedule(spec->schedule, spec->seed),
                   .cmaes = {}};
  if (spec->search.method == proto::SearchMethod::kGrid) {
    // A reader has refused what is no grid, but for its size.
    if (auto grid = Grid::of(*space)) state.grid = std::make_shared<const Grid>(std::move(*grid));
    const std::int64_t size = state.grid ? state.grid->size() : 0;
    state.trials_max = state.trials_max == 0 ? size : std::min(state.trials_max, size);
  }
  if (spec->search.method == proto::SearchMethod::kCmaes) state.cmaes.emplace(*space, spec->search);
  if (spec->baseline && !state.grid)
    if (const auto baseline = proto::baseline_of(*spec); proto::is_complete(*spec, baseline))
      state.queue.push_back({baseline, "baseline"});
  for (const auto& params : spec->start_with) state.queue.push_back({params, "start_with"});
  return state;
}

Result<Done> fold(SweepState& state, const proto::SweepEvent& event) {
  const auto undecided = std::exchange(state.undecided, -1);
  auto applied = std::visit(Step(state), event);
  if (!applied) state.undecided = undecided;
  return applied;
}

std::vector<std::int64_t> ranked_trials(const SweepState& state) {
  std::vector<std::int64_t> ranked;
  for (std::int64_t number = 0; number < static_cast<std::int64_t>(state.trials.size()); ++number)
    if (has_standing(state, number)) ranked.push_back(number);
  std::ranges::sort(ranked, {}, [&](std::int64_t number) { return standing(state, number); });
  return ranked;
}

Result<SweepState> replay_sweep(std::int64_t id, std::span<const proto::StampedSweepEvent> log) {
  const auto* first = log.empty() ? nullptr : std::get_if<proto::SweepSubmitted>(&log.front().event);
  if (first == nullptr) return refused("event 0: the log of a sweep begins with sweep_submitted");
  SweepState state = submitted_sweep(id, *first);
  for (std::size_t i = 1; i < log.size(); ++i)
    if (auto applied = fold(state, log[i].event); !applied)
      return applied.error().in("event " + std::to_string(i) + " (" + std::string(event_name(log[i].event)) +
                                ")");
  return state;
}

}  // namespace rtrain::core
