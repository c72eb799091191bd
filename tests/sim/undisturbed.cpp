#include "tests/sim/undisturbed.h"

#include <algorithm>
#include <map>
#include <set>

namespace rtrain::sim {
namespace {

using proto::Json;
using proto::SweepEvent;

class Undisturbed {
 public:
  Undisturbed(const proto::SweepSubmitted& submitted, const TrialPlans& plans)
      : plans_(plans), state_(core::submitted_sweep(1, submitted)) {}

  std::vector<SweepEvent> run() {
    for (follow(); !core::is_terminal(state_.phase); follow()) {
      const auto event = core::next(state_, 0);
      if (!event) break;
      put(*event);
      if (const auto* suggested = std::get_if<proto::TrialSuggested>(&*event)) {
        put(proto::TrialSubmitted{suggested->trial, JobId(suggested->trial + 1)});
        train(suggested->trial);
      } else {
        train(std::get<proto::TrialPromoted>(*event).trial);
      }
    }
    return std::move(events_);
  }

 private:
  void put(const SweepEvent& event) {
    core::fold(state_, event).value();  // the fold's own events are legal
    events_.push_back(event);
  }
  void follow() {
    while (const auto event = core::follow_up(state_)) put(*event);
  }
  /// From the epoch after the last one to its end, or to where its sweep ends or pauses it.
  void train(std::int64_t trial) {
    follow();
    const auto& plan = plans_(trial);
    auto& epoch = epochs_[trial];
    const auto report = [&](const Json& metrics) { return core::TrialReport{trial, metrics, epoch, true}; };
    const auto told = [&] { return Json{{"loss", loss(plan.spec.name, epoch)}, {"epoch", epoch}}; };
    const auto runs = [&] { return state_.trial(trial).phase == core::TrialPhase::kRunning; };
    while (epoch < plan.epochs && runs()) {
      ++epoch;
      const auto metrics = told();
      while (const auto reached = core::reached(state_, report(metrics))) {
        put(*reached);
        follow();
      }
    }
    const auto phase = state_.trial(trial).phase;
    if (phase == core::TrialPhase::kPaused || core::has_ended(phase)) return;
    const bool completed = runs() || state_.trial(trial).finished;
    const auto last = told();
    put(core::trial_ended(state_, report(last),
                          completed ? proto::TrialOutcome::kCompleted : proto::TrialOutcome::kPruned, ""));
  }

  const TrialPlans& plans_;
  core::SweepState state_;
  std::map<std::int64_t, std::int64_t> epochs_;
  std::vector<SweepEvent> events_;
};

/// What a person would call a decision; "" for what is none, and for what no result decides.
struct Words {
  std::string operator()(const proto::TrialSuggested& e) const {
    return "suggested by " + e.by + ", generation " + std::to_string(e.generation) + ": " + e.params.dump();
  }
  std::string operator()(const proto::RungReached& e) const {
    return "rung " + std::to_string(e.rung) + " at " + Json(e.resource).dump() + ": " +
           (e.value ? Json(*e.value).dump() : "none");
  }
  std::string operator()(const proto::TrialPaused& e) const { return "paused: " + e.reason; }
  std::string operator()(const proto::TrialPromoted& e) const { return "promoted: " + e.reason; }
  std::string operator()(const proto::TrialStopped& e) const {
    return (e.finished ? "finished: " : "stopped: ") + e.reason;
  }
  std::string operator()(const proto::TrialEnded& e) const {
    const bool judged = e.outcome == proto::TrialOutcome::kCompleted;
    return std::string(proto::to_string(e.outcome)) + (judged && e.value ? ": " + Json(*e.value).dump() : "");
  }
  std::string operator()(const proto::SweepStopping& e) const { return "the sweep stops: " + e.reason; }
  std::string operator()(const proto::SweepEnded& e) const { return "the sweep ended: " + e.reason; }
  std::string operator()(const auto&) const { return ""; }
};

struct TrialOf {
  std::int64_t operator()(const auto& e) const {
    if constexpr (requires { e.trial; })
      return e.trial;
    else
      return -1;
  }
};

/// What each event of a sweep decided, as it goes on.
class Telling {
 public:
  std::string operator()(const SweepEvent& event) {
    const auto trial = std::visit(TrialOf(), event);
    auto said = std::visit(Words(), event);
    if (const auto* stopped = std::get_if<proto::TrialStopped>(&event);
        stopped != nullptr && stopped->finished)
      finished_.insert(trial);
    // The value of the last rung counts; how much further it came before it yielded decides nothing.
    if (std::holds_alternative<proto::TrialEnded>(event) && finished_.contains(trial)) said = "ended";
    return said.empty() || trial < 0 ? said : "trial " + std::to_string(trial) + " " + said;
  }

 private:
  std::set<std::int64_t> finished_;
};

std::vector<std::string> told(const std::vector<SweepEvent>& events) {
  std::vector<std::string> all;
  Telling tell;
  for (const auto& event : events)
    if (auto said = tell(event); !said.empty()) all.push_back(std::move(said));
  return all;
}

/// From here on more than the results decides. `paused`: the trials that are.
bool is_disturbance(const SweepEvent& event, const std::set<std::int64_t>& paused) {
  if (const auto* ended = std::get_if<proto::TrialEnded>(&event))
    return (ended->outcome != proto::TrialOutcome::kCompleted &&
            ended->outcome != proto::TrialOutcome::kPruned) ||
           paused.contains(ended->trial);  // its job came to its end before it had yielded
  const auto* stopping = std::get_if<proto::SweepStopping>(&event);
  return stopping != nullptr && (stopping->outcome != proto::SweepOutcome::kSucceeded ||
                                 stopping->reason.starts_with("limits.hours"));
}

Comparison in_order(const std::vector<proto::StampedSweepEvent>& events,
                    const std::vector<std::string>& expected) {
  Comparison compared;
  Telling tell;
  std::set<std::int64_t> paused;
  auto next = expected.begin();
  for (const auto& [at, event] : events) {
    if (is_disturbance(event, paused)) break;
    if (const auto* one = std::get_if<proto::TrialPaused>(&event)) paused.insert(one->trial);
    if (const auto* one = std::get_if<proto::TrialPromoted>(&event)) paused.erase(one->trial);
    const auto said = tell(event);
    if (said.empty()) continue;
    const auto due = next == expected.end() ? "nothing" : *next++;
    if (said != due) {
      compared.difference = "\"" + said + "\", and \"" + due + "\" when nothing goes wrong";
      break;
    }
    ++compared.decisions;
    // A trial that waits in the queue then ends at once, and one that runs at its next rung.
    if (std::holds_alternative<proto::SweepStopping>(event)) break;
  }
  return compared;
}

/// Each trial's parameters, and what it ended with.
Comparison by_trial(const std::vector<proto::StampedSweepEvent>& events,
                    const std::vector<SweepEvent>& expected) {
  Telling tell;
  const auto counts = [](const SweepEvent& event) {
    const auto* ended = std::get_if<proto::TrialEnded>(&event);
    return std::holds_alternative<proto::TrialSuggested>(event) ||
           (ended != nullptr && ended->outcome == proto::TrialOutcome::kCompleted);
  };
  std::set<std::string> due;
  for (const auto& event : expected)
    if (counts(event)) due.insert(tell(event));
  Comparison compared;
  for (const auto& [at, event] : events) {
    if (!counts(event)) continue;
    if (const auto said = tell(event); !due.contains(said)) {
      compared.difference = "\"" + said + "\", which does not happen when nothing goes wrong";
      break;
    }
    ++compared.decisions;
  }
  return compared;
}

}  // namespace

std::vector<SweepEvent> undisturbed(const proto::SweepSubmitted& submitted, const TrialPlans& plans) {
  return Undisturbed(submitted, plans).run();
}

Comparison compare_with_undisturbed(const std::vector<proto::StampedSweepEvent>& events,
                                    const TrialPlans& plans) {
  auto submitted = std::get<proto::SweepSubmitted>(events.front().event);
  auto& spec = submitted.spec;
  const auto method = spec.search.method;
  spec.limits.hours.reset();  // virtual trials take no time
  if (core::running_max(core::submitted_sweep(1, submitted)) == 1)
    return in_order(events, told(undisturbed(submitted, plans)));
  const bool looks = method == proto::SearchMethod::kTpe || method == proto::SearchMethod::kCmaes ||
                     spec.schedule.kind != proto::ScheduleKind::kNone;
  if (looks) return {};
  spec.limits = {.trials = spec.limits.trials, .failed_max = 0};  // who is the first to hit one differs
  return by_trial(events, undisturbed(submitted, plans));
}

}  // namespace rtrain::sim
