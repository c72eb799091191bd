// What follows from the state of a sweep: rungs, limits, the next trial, effects.
#include "common/base/fault.h"
#include "daemon/core/sweep/sweep.h"
#include "daemon/core/sweep/tpe.h"

#include <algorithm>
#include <cmath>

namespace rtrain::core {
namespace {

using proto::Json;
using proto::SearchMethod;
using proto::SweepEvent;

bool has_metric(const SweepState& state, const TrialReport& report) {
  return report.metrics.is_object() && report.metrics.contains(state.spec->metric);
}

/// Nothing: the report does not say it. The number of reports does not stand for it where rungs are measured
/// by it: it counts work that is done again, and a program may report each step and each epoch.
std::optional<double> resource_of(const SweepState& state, const TrialReport& report) {
  if (auto told = proto::reported_number(report.metrics, proto::resource_name(*state.spec))) return told;
  const bool counted = state.spec->resource.empty() && !state.schedule.has_rungs();
  return counted ? std::optional(static_cast<double>(report.reports)) : std::nullopt;
}

/// Why a trial that came to its end is none: its schedule could not judge it. Empty: it could.
std::string unjudged(const SweepState& state, const TrialReport& last) {
  const auto& trial = state.trial(last.trial);
  const bool blind = trial.phase == TrialPhase::kRunning && trial.rung < 0 && state.schedule.has_rungs() &&
                     last.reports > 0 && !resource_of(state, last);
  if (!blind) return "";
  return "it came to no rung, and its last report has no number \"" + proto::resource_name(*state.spec) +
         "\", which rungs are measured in: report it, or name in `resource` of the sweep file a number that "
         "is "
         "reported and only grows";
}

/// What is missing here counts as out of its bounds.
std::map<std::string, double> constrained(const SweepState& state, const Json& metrics) {
  std::map<std::string, double> reported;
  for (const auto& [metric, ignored] : state.spec->constraints)
    if (const auto value = proto::reported_number(metrics, metric)) reported[metric] = *value;
  return reported;
}

/// Nothing: there is no checkpoint to go on from, and the member goes on as it is.
std::optional<SweepEvent> clone_of(const SweepState& state, const TrialDecision& decision,
                                   const FindCheckpoint& find) {
  const auto number = state.undecided;
  const auto& trial = state.trial(number);
  const auto& donor = state.trial(decision.donor);
  const auto checkpoint = find ? find(number, decision.donor) : std::nullopt;
  if (!checkpoint) return std::nullopt;
  return proto::TrialCloned{
      number, decision.donor, trial.rung,
      state.space->to_json(
          perturbed(*state.space, state.spec->schedule, state.spec->seed, number, trial.rungs, donor.point)),
      checkpoint->path, decision.reason,
      // A report without the resource was made after its last rung.
      proto::reported_number(checkpoint->metrics, proto::resource_name(*state.spec))
          .value_or(donor.resource)};
}

std::optional<SweepEvent> event_of(const SweepState& state, const TrialDecision& decision,
                                   const FindCheckpoint& find) {
  const auto number = state.undecided;
  const auto rung = state.trial(number).rung;
  switch (decision.verdict) {
    case TrialVerdict::kGoOn: return std::nullopt;
    case TrialVerdict::kPause: return proto::TrialPaused{number, rung, decision.reason};
    case TrialVerdict::kPrune: return proto::TrialStopped{number, rung, false, decision.reason};
    case TrialVerdict::kFinish: return proto::TrialStopped{number, rung, true, decision.reason};
    case TrialVerdict::kClone: return clone_of(state, decision, find);
  }
  return std::nullopt;
}

std::optional<SweepEvent> decision_at_rung(const SweepState& state, const FindCheckpoint& find) {
  if (state.undecided < 0) return std::nullopt;
  const auto& trial = state.trial(state.undecided);
  const auto decision = state.schedule.decide(state.undecided, trial.rung, trial.rungs);
  // A sweep that stops ends each trial at its next rung, whatever its rank.
  if (state.phase == SweepPhase::kStopping && decision.verdict != TrialVerdict::kFinish)
    return proto::TrialStopped{state.undecided, state.trial(state.undecided).rung, false, state.reason};
  return event_of(state, decision, find);
}

std::string trials_text(std::int64_t n) { return std::to_string(n) + (n == 1 ? " trial" : " trials"); }

/// Why the newest trial that ended so did.
std::string last_reason(const SweepState& state, TrialPhase phase) {
  for (auto trial = state.trials.rbegin(); trial != state.trials.rend(); ++trial)
    if (trial->phase == phase) return trial->reason;
  return "";
}

/// Invalid trials are replaced, which would go on for ever where nothing of the space can be trained. A few
/// in a row are luck also where a sweep has few trials.
constexpr std::int64_t kInvalidInRowMin = 10;

std::optional<proto::SweepStopping> limit_of_results(const SweepState& state) {
  if (fault::on(fault::Fault::kSweepLimitOff)) return std::nullopt;
  const auto& limits = state.spec->limits;
  if (state.invalid_in_row >= std::max(kInvalidInRowMin, state.trials_max))
    return proto::SweepStopping{
        trials_text(state.invalid_in_row) +
            " in a row have parameters that cannot be trained: narrow `parameters`. The last: " +
            last_reason(state, TrialPhase::kInvalid),
        false, state.best < 0 ? proto::SweepOutcome::kFailed : proto::SweepOutcome::kSucceeded};
  if (limits.failed_max > 0 && state.failed_in_row >= limits.failed_max && state.best < 0)
    return proto::SweepStopping{
        trials_text(state.failed_in_row) +
            " failed before any succeeded, the last with: " + last_reason(state, TrialPhase::kFailed),
        true, proto::SweepOutcome::kFailed};
  if (limits.target && state.at_target >= 0)
    return proto::SweepStopping{"trial " + std::to_string(state.at_target) +
                                    " is as good as limits.target, " + proto::number_text(*limits.target),
                                false, proto::SweepOutcome::kSucceeded};
  if (limits.no_better_trials > 0 && state.not_better_in_row >= limits.no_better_trials)
    return proto::SweepStopping{trials_text(limits.no_better_trials) +
                                    " in a row were not better than trial " + std::to_string(state.best),
                                false, proto::SweepOutcome::kSucceeded};
  return std::nullopt;
}

bool may_suggest(const SweepState& state) {
  return static_cast<std::int64_t>(state.trials.size()) - state.invalid < state.trials_max;
}

/// Whether some trial is still to come without anybody's doing.
bool has_more(const SweepState& state) {
  if (state.phase != SweepPhase::kRunning) return false;
  if (!state.queue.empty()) return may_suggest(state);
  if (!may_suggest(state)) return false;
  if (state.spec->search.method == SearchMethod::kExternal) return true;
  return !state.grid || state.searched < state.grid->size();
}

std::optional<SweepEvent> end_of_sweep(const SweepState& state) {
  if (state.active > 0 || state.phase == SweepPhase::kPaused || has_more(state)) return std::nullopt;
  if (state.phase == SweepPhase::kStopping) return proto::SweepEnded{state.outcome, state.reason};
  if (state.schedule.promotable() || state.schedule.last_promotion()) return std::nullopt;
  const auto count = trials_text(static_cast<std::int64_t>(state.trials.size()) - state.invalid);
  if (state.best < 0)
    return proto::SweepEnded{proto::SweepOutcome::kFailed, "no trial of " + count + " has a value"};
  return proto::SweepEnded{proto::SweepOutcome::kSucceeded,
                           count + ", the best is " + std::to_string(state.best)};
}

std::optional<SweepEvent> suggestion(const SweepState& state) {
  const auto number = static_cast<std::int64_t>(state.trials.size());
  if (!state.queue.empty()) {
    const auto& given = state.queue.front();
    const auto point = state.space->completed(given.params, state.spec->seed, number);
    // What was taken into the queue was checked by the reader, or by whoever took the user's request.
    if (point) {
      const bool from_file = given.by == "baseline" || given.by == "start_with";
      return proto::TrialSuggested{number, state.space->to_json(*point),
                                   given.retry_of >= 0 ? "retry of " + std::to_string(given.retry_of)
                                   : from_file         ? given.by
                                                       : "enqueued",
                                   0};
    }
  }
  auto suggested = suggest(state);
  if (!suggested) return std::nullopt;
  return std::move(*suggested);
}

}  // namespace

std::optional<proto::RungReached> reached(const SweepState& state, const TrialReport& report) {
  const auto& trial = state.trial(report.trial);
  if (trial.phase != TrialPhase::kRunning || !has_metric(state, report)) return std::nullopt;
  const auto resource = resource_of(state, report);
  if (!resource) return std::nullopt;
  const bool done_again = *resource < trial.resource;
  if (done_again && !(fault::on(fault::Fault::kRedoneWorkDecides) && trial.rung >= 0)) return std::nullopt;
  const auto rung =
      done_again ? std::optional(trial.rung) : state.schedule.rung_at(report.trial, trial.rung, *resource);
  if (!rung) return std::nullopt;
  return proto::RungReached{report.trial,
                            *rung,
                            *resource,
                            proto::reported_number(report.metrics, state.spec->metric),
                            constrained(state, report.metrics),
                            report.checkpoint,
                            report.reports};
}

proto::TrialEnded trial_ended(const SweepState& state, const TrialReport& last, proto::TrialOutcome outcome,
                              std::string error) {
  if (outcome == proto::TrialOutcome::kCompleted)
    if (auto why = unjudged(state, last); !why.empty()) {
      outcome = proto::TrialOutcome::kFailed;
      error = std::move(why);
    }
  return {last.trial,
          outcome,
          proto::reported_number(last.metrics, state.spec->metric),
          last.reports > 0 ? resource_of(state, last).value_or(0) : 0,
          constrained(state, last.metrics),
          std::move(error)};
}

std::optional<SweepEvent> follow_up(const SweepState& state, const FindCheckpoint& find) {
  if (is_terminal(state.phase)) return std::nullopt;
  if (auto decided = decision_at_rung(state, find)) return decided;
  if (state.phase != SweepPhase::kStopping)
    if (auto stopping = limit_of_results(state)) return std::move(*stopping);
  return end_of_sweep(state);
}

std::int64_t running_max(const SweepState& state) {
  const auto& spec = *state.spec;
  if (spec.limits.running > 0) return spec.limits.running;
  // So that it learns something between its suggestions. Of a population all members run.
  if (spec.search.method == SearchMethod::kTpe && spec.schedule.kind != proto::ScheduleKind::kPbt)
    return std::max<std::int64_t>(1, state.trials_max / 4);
  // More than a generation at once would be drawn from what the generation before has not moved yet.
  if (state.cmaes) return static_cast<std::int64_t>(state.cmaes->strategy().popsize());
  return proto::kTrialsMax;
}

bool has_room(const SweepState& state) {
  const bool starts = state.phase == SweepPhase::kRunning ||
                      (state.phase == SweepPhase::kStopping && fault::on(fault::Fault::kStoppedSweepStarts));
  return starts && state.active < running_max(state);
}

std::optional<SweepEvent> next(const SweepState& state, std::int64_t waiting) {
  if (!has_room(state) || waiting >= kWaitingMax) return std::nullopt;
  if (const auto promotion = state.schedule.promotable())
    return proto::TrialPromoted{promotion->trial, promotion->rung, promotion->reason};
  if (may_suggest(state))
    if (auto suggested = suggestion(state)) return suggested;
  if (state.active == 0 && !has_more(state))
    if (const auto promotion = state.schedule.last_promotion())
      return proto::TrialPromoted{promotion->trial, promotion->rung, promotion->reason};
  return std::nullopt;
}

std::vector<Observation> history_of(const SweepState& state) {
  std::vector<Observation> history = *state.known;
  for (std::size_t i = 0; i < state.trials.size(); ++i) {
    const auto& trial = state.trials[i];
    // A trial that failed tells nothing of its parameters; one that a user ended was judged by nobody.
    if (trial.phase == TrialPhase::kFailed || trial.phase == TrialPhase::kInvalid ||
        trial.phase == TrialPhase::kCancelled)
      continue;
    const bool unjudged = trial.is_unjudged_clone();
    if (unjudged && has_ended(trial.phase)) continue;
    auto observed = ObservedState::kRunning;
    if (trial.phase == TrialPhase::kCompleted)
      observed = ObservedState::kComplete;
    else if (!unjudged && (trial.rung >= 0 || has_ended(trial.phase)))
      observed = ObservedState::kPruned;  // what it had at its last rung is known
    history.push_back(
        {static_cast<std::int64_t>(i), trial.point, observed, trial.loss, trial.resource, trial.violation});
  }
  return history;
}

std::optional<proto::TrialSuggested> suggest(const SweepState& state) {
  const auto& spec = *state.spec;
  const auto number = static_cast<std::int64_t>(state.trials.size());
  proto::TrialSuggested suggested{number, {}, std::string(proto::to_string(spec.search.method)), 0};
  Point point;
  switch (spec.search.method) {
    case SearchMethod::kRandom: point = state.space->random(spec.seed, number); break;
    case SearchMethod::kSobol: point = sobol_point(*state.space, spec.seed, number); break;
    case SearchMethod::kTpe:
      point = suggest_tpe(*state.space, spec.search, spec.seed, number, history_of(state));
      break;
    case SearchMethod::kGrid:
      if (!state.grid || state.searched >= state.grid->size()) return std::nullopt;
      point = state.grid->point(state.searched);
      break;
    case SearchMethod::kCmaes:
      point = state.cmaes->suggest(*state.space, spec.seed, number);
      suggested.generation = state.cmaes->generation();
      break;
    case SearchMethod::kExternal: return std::nullopt;  // trials come by trial_enqueued
  }
  suggested.params = state.space->to_json(point);
  return suggested;
}

std::optional<proto::SweepStopping> limit_hit(const SweepState& state, const SweepUsage& usage) {
  if (state.phase == SweepPhase::kStopping || is_terminal(state.phase)) return std::nullopt;
  if (fault::on(fault::Fault::kSweepLimitOff)) return std::nullopt;
  const auto over = [](const std::optional<double>& limit, double used, const char* name) {
    return limit && used >= *limit
               ? std::optional(proto::SweepStopping{
                     std::string(name) + " of " + proto::number_text(*limit) + " is used up", false,
                     proto::SweepOutcome::kSucceeded})
               : std::nullopt;
  };
  if (auto stopping = over(state.spec->limits.hours, usage.hours, "limits.hours")) return stopping;
  return over(state.spec->limits.gpu_hours, usage.gpu_hours, "limits.gpu_hours");
}

std::string clone_text(const SweepState& state, std::int64_t trial) {
  const auto& from = *state.trial(trial).from;
  return "trial " + std::to_string(trial) + " goes on from " + from.checkpoint +
         ", the checkpoint of trial " + std::to_string(from.donor);
}

std::vector<SweepAction> actions(const SweepState& state, const SweepEvent& event) {
  if (const auto* suggested = std::get_if<proto::TrialSuggested>(&event))
    return {SubmitTrial{suggested->trial}};
  if (const auto* paused = std::get_if<proto::TrialPaused>(&event))
    return {PauseTrial{paused->trial, paused->reason}};
  if (const auto* promoted = std::get_if<proto::TrialPromoted>(&event))
    return {ReleaseTrial{promoted->trial}};
  if (const auto* stopped = std::get_if<proto::TrialStopped>(&event))
    return {StopTrial{stopped->trial, stopped->finished || state.spec->checkpoint_pruned, stopped->reason,
                      stopped->finished}};
  if (const auto* cloned = std::get_if<proto::TrialCloned>(&event))
    return {CloneTrial{cloned->trial, state.trial(cloned->trial).replaced}};
  std::vector<SweepAction> all;
  if (!std::holds_alternative<proto::SweepStopping>(event) &&
      !std::holds_alternative<proto::SweepEnded>(event))
    return all;
  // What was paused has no more to wait for, and what runs may have been told to end at once.
  const auto* stopping = std::get_if<proto::SweepStopping>(&event);
  const bool ended = std::holds_alternative<proto::SweepEnded>(event);
  for (std::size_t i = 0; i < state.trials.size(); ++i) {
    const auto phase = state.trials[i].phase;
    const bool at_once = stopping != nullptr && stopping->now && phase == TrialPhase::kStopping;
    const bool was_paused = ended && state.trials[i].left_paused;
    if (at_once || was_paused)
      all.emplace_back(
          StopTrial{static_cast<std::int64_t>(i), state.spec->checkpoint_pruned && at_once, state.reason});
  }
  return all;
}

}  // namespace rtrain::core
