#include "daemon/core/sweep/sweep.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/core/sweep/golden.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

namespace sweep_sweep_test {

using namespace rtrain;
using namespace rtrain::core;
using proto::Json;
using proto::StampedSweepEvent;
using proto::SweepEvent;
using proto::TrialOutcome;

namespace {

const Json kParameters{{"lr", {{"float", {1e-4, 1.0}}, {"log", true}}}, {"width", {{"int", {8, 64}}}}};

/// A head without a cluster: it applies what the sweep decides, and keeps the log.
class Harness {
 public:
  explicit Harness(Json more = {}, const Json& parameters = kParameters) {
    proto::SweepSubmitted submitted{sweep_of(parameters, std::move(more)), "ada"};
    log.push_back({0, submitted});
    state.emplace(submitted_sweep(1, submitted));
  }

  void put(SweepEvent event) {
    const auto applied = fold(*state, event);
    INFO(event_name(event) << (applied ? "" : ": " + applied.error().message()));
    REQUIRE(applied.has_value());
    log.push_back({0, event});
    for (const auto& action : actions(*state, event)) done.push_back(action);
  }
  /// The trial's newest checkpoint, of its job.
  std::optional<proto::CheckpointRecord> newest(std::int64_t trial) const {
    const auto found = checkpoints.find(trial);
    if (found == checkpoints.end()) return std::nullopt;
    return proto::CheckpointRecord{"/runs/" + std::to_string(trial), 0, found->second};
  }
  void follow() {
    const auto find = [this](std::int64_t, std::int64_t donor) { return newest(donor); };
    while (auto event = follow_up(*state, find)) put(std::move(*event));
  }
  /// Jobs of clones are submitted.
  void submit_clones() {
    for (std::int64_t trial = 0; trial < static_cast<std::int64_t>(state->trials.size()); ++trial) {
      if (phase(trial) != TrialPhase::kSuggested) continue;
      reports[trial] = 0;
      checkpoints.erase(trial);
      put(proto::TrialSubmitted{trial, JobId(1000 + static_cast<std::int64_t>(log.size()))});
    }
  }
  /// Starts what may start while `places` are free; the numbers of the trials.
  std::vector<std::int64_t> start(std::int64_t places = 1) {
    std::vector<std::int64_t> started;
    while (state->active < places) {
      auto event = next(*state, 0);
      if (!event) break;
      put(*event);
      if (const auto* suggested = std::get_if<proto::TrialSuggested>(&*event)) {
        put(proto::TrialSubmitted{suggested->trial, JobId(100 + suggested->trial)});
        started.push_back(suggested->trial);
      } else {
        started.push_back(std::get<proto::TrialPromoted>(*event).trial);
      }
    }
    return started;
  }
  void report(std::int64_t trial, const Json& metrics, bool checkpoint = true) {
    ++reports[trial];
    if (checkpoint) checkpoints[trial] = metrics;
    const TrialReport report{trial, metrics, reports[trial], checkpoint};
    while (auto event = reached(*state, report)) {
      put(*event);
      follow();
    }
  }
  void end(std::int64_t trial, TrialOutcome outcome, const Json& metrics = Json::object(),
           std::string error = "") {
    put(trial_ended(*state, {trial, metrics, ++reports[trial], false}, outcome, std::move(error)));
    follow();
  }
  TrialPhase phase(std::int64_t trial) const { return state->trial(trial).phase; }

  std::optional<SweepState> state;
  std::vector<StampedSweepEvent> log;
  std::vector<SweepAction> done;
  std::map<std::int64_t, std::int64_t> reports;
  std::map<std::int64_t, Json> checkpoints;  ///< what was reported with the newest
};

/// Runs the sweep to its end: trial by trial an epoch in turn, `places` at once. The loss is a function of
/// the parameters and the epoch.
void run(Harness& harness, std::int64_t places, int epochs,
         const std::function<double(const Point&, int)>& loss) {
  std::map<std::int64_t, int> epoch;
  for (int guard = 0; guard < 100'000 && !is_terminal(harness.state->phase); ++guard) {
    harness.start(places);
    bool moved = false;
    for (std::int64_t trial = 0; trial < static_cast<std::int64_t>(harness.state->trials.size()); ++trial) {
      const auto phase = harness.phase(trial);
      if (phase == TrialPhase::kStopping) {
        const auto outcome =
            harness.state->trial(trial).finished ? TrialOutcome::kCompleted : TrialOutcome::kPruned;
        const Json last{{"loss", loss(harness.state->trial(trial).point, epoch[trial])},
                        {"epoch", epoch[trial]}};
        harness.end(trial, outcome, last);
        moved = true;
      } else if (phase == TrialPhase::kRunning) {
        const int at = ++epoch[trial];
        const Json metrics{{"loss", loss(harness.state->trial(trial).point, at)}, {"epoch", at}};
        harness.report(trial, metrics);
        if (harness.phase(trial) == TrialPhase::kSuggested) {
          epoch[trial] = static_cast<int>(harness.state->trial(trial).resource);
          harness.submit_clones();
        } else if (at == epochs && harness.phase(trial) == TrialPhase::kRunning)
          harness.end(trial, TrialOutcome::kCompleted, metrics);
        moved = true;
      }
    }
    harness.follow();
    if (!moved && !is_terminal(harness.state->phase)) FAIL("the sweep stands still");
  }
}

double bowl(const Point& point, int epoch) {
  return std::abs(std::log10(point[0]) + 2) + std::abs(point[1] - 32) / 32 + 1.0 / epoch;
}

std::vector<Json> suggestions(const std::vector<StampedSweepEvent>& log) {
  std::vector<Json> all;
  for (const auto& stamped : log)
    if (const auto* suggested = std::get_if<proto::TrialSuggested>(&stamped.event))
      all.push_back(suggested->params);
  return all;
}

const std::vector<Json> kSearches{"random", "sobol", "tpe", "cmaes"};
const std::vector<Json> kSchedules{"none",
                                   Json{{"asha", {{"max", 9}}}},
                                   Json{{"asha", {{"max", 9}, {"mode", "stop"}}}},
                                   Json{{"hyperband", {{"max", 9}, {"brackets", "conservative"}}}},
                                   Json{{"median", {{"startup_trials", 3}}}},
                                   Json{{"pbt", {{"interval", 2}}}}};

/// cmaes learns from trials that end and whose parameters are its own.
bool go_together(const Json& search, const Json& schedule) {
  if (search != "cmaes" || !schedule.is_object()) return true;
  if (schedule.contains("median")) return true;
  return !schedule.contains("pbt") && schedule.begin()->value("mode", "promote") == "stop";
}

}  // namespace

TEST_CASE("sweep: every search with every schedule comes to its end, and its log gives it again") {
  for (const auto& search : kSearches)
    for (const auto& schedule : kSchedules) {
      if (!go_together(search, schedule)) continue;
      INFO(proto::dump_json(search) << " " << proto::dump_json(schedule));
      Harness harness(Json{{"search", search},
                           {"schedule", schedule},
                           {"limits", {{"trials", 30}, {"running", 4}}},
                           {"seed", 3}});
      run(harness, 4, 9, bowl);
      const auto& state = *harness.state;
      CHECK(state.phase == SweepPhase::kSucceeded);
      CHECK(state.trials.size() == 30);
      REQUIRE(state.best >= 0);
      CHECK(std::ranges::any_of(
          state.trials, [](const TrialState& trial) { return trial.phase == TrialPhase::kCompleted; }));
      for (const auto& trial : state.trials) CHECK(has_ended(trial.phase));

      // A replay of what was stored, as JSON, and at each suggestion the searcher asked again.
      std::optional<SweepState> again;
      for (const auto& stamped : harness.log) {
        const auto read = proto::sweep_event_from_json(
            proto::parse_json(proto::dump_json(proto::to_json(stamped))).value());
        REQUIRE(read.has_value());
        if (const auto* submitted = std::get_if<proto::SweepSubmitted>(&read->event)) {
          again.emplace(submitted_sweep(1, *submitted));
          continue;
        }
        if (const auto* suggested = std::get_if<proto::TrialSuggested>(&read->event)) {
          const auto asked = suggest(*again);
          REQUIRE(asked.has_value());
          CHECK(asked->params == suggested->params);
          CHECK(asked->generation == suggested->generation);
        }
        REQUIRE(fold(*again, read->event).has_value());
      }
      CHECK(again->phase == state.phase);
      CHECK(again->best == state.best);
      for (std::size_t i = 0; i < state.trials.size(); ++i) {
        CHECK(again->trials[i].phase == state.trials[i].phase);
        CHECK(again->trials[i].loss == state.trials[i].loss);
        CHECK(again->trials[i].rung == state.trials[i].rung);
        CHECK(again->trials[i].job == state.trials[i].job);
        CHECK(again->trials[i].from == state.trials[i].from);
      }
      const auto clones = std::ranges::count_if(harness.log, [](const StampedSweepEvent& stamped) {
        return std::holds_alternative<proto::TrialCloned>(stamped.event);
      });
      CHECK((clones > 0) == (schedule.is_object() && schedule.contains("pbt")));
    }
}

TEST_CASE("sweep: a fold that is stopped anywhere goes on the same") {
  for (const std::string search : {"tpe", "cmaes"}) {
    const Json more{{"search", search},
                    {"schedule", {{"asha", {{"max", 9}, {"mode", search == "cmaes" ? "stop" : "promote"}}}}},
                    {"limits", {{"trials", 20}, {"running", 3}}}};
    Harness whole(more);
    run(whole, 3, 9, bowl);
    for (std::size_t cut = 1; cut < whole.log.size(); cut += 7) {
      const auto state = replay_sweep(1, std::span(whole.log).first(cut));
      REQUIRE(state.has_value());
      // The next event that is a decision follows from the state alone.
      const auto& after = whole.log[cut].event;
      if (std::holds_alternative<proto::TrialSuggested>(after) ||
          std::holds_alternative<proto::TrialPromoted>(after)) {
        const auto decided = next(*state, 0);
        REQUIRE(decided.has_value());
        CHECK(proto::to_json(StampedSweepEvent{0, *decided}) == proto::to_json(whole.log[cut]));
      }
      if (std::holds_alternative<proto::TrialPaused>(after) ||
          std::holds_alternative<proto::TrialStopped>(after))
        CHECK(proto::to_json(StampedSweepEvent{0, *follow_up(*state)}) == proto::to_json(whole.log[cut]));
    }
  }
}

TEST_CASE("sweep: faults in any order lose nothing, and the log gives the sweep again") {
  constexpr int kEpochs = 9, kTrials = 25;
  for (std::uint64_t seed = 0; seed < 72; ++seed) {
    const auto& search = kSearches[seed % kSearches.size()];
    const auto& schedule = kSchedules[seed / kSearches.size() % kSchedules.size()];
    if (!go_together(search, schedule)) continue;
    INFO("seed " << seed << ": " << proto::dump_json(search) << " " << proto::dump_json(schedule));
    Harness harness(Json{{"search", search},
                         {"schedule", schedule},
                         {"limits", {{"trials", kTrials}, {"running", 4}, {"failed_max", 0}}},
                         {"seed", seed}});
    Draws dice(seed, 0, 0, Purpose::kAssumed);
    std::map<std::int64_t, int> epoch;
    const auto& state = *harness.state;
    for (int guard = 0; !is_terminal(state.phase); ++guard) {
      REQUIRE(guard < 10'000);
      harness.start(1 + static_cast<std::int64_t>(dice.below(5)));
      harness.follow();
      std::vector<std::int64_t> active;
      for (std::size_t i = 0; i < state.trials.size(); ++i)
        if (is_active(state.trials[i].phase)) active.push_back(static_cast<std::int64_t>(i));
      REQUIRE(static_cast<std::int64_t>(active.size()) == state.active);
      CHECK(static_cast<std::int64_t>(state.trials.size()) - state.invalid <= kTrials);
      if (is_terminal(state.phase)) break;
      REQUIRE_FALSE(active.empty());
      const auto trial = active[dice.below(active.size())];
      const auto metrics = [&](int at) {
        return Json{{"loss", bowl(state.trial(trial).point, std::max(1, at))}, {"epoch", at}};
      };
      if (harness.phase(trial) == TrialPhase::kStopping) {
        const bool finished = state.trial(trial).finished;
        harness.end(trial, finished ? TrialOutcome::kCompleted : TrialOutcome::kPruned,
                    metrics(epoch[trial]));
        continue;
      }
      const int rung = state.trial(trial).rung;
      switch (dice.below(24)) {
        case 0: harness.end(trial, TrialOutcome::kFailed, Json::object(), "exit status 1"); continue;
        case 1: harness.end(trial, TrialOutcome::kInvalid); continue;
        case 2: harness.end(trial, TrialOutcome::kCancelled, metrics(epoch[trial])); continue;
        case 3:  // a restart: work that is done again comes to no rung
          if (epoch[trial] == 0) continue;
          harness.report(trial, metrics(epoch[trial] / 2));
          CHECK(state.trial(trial).rung == rung);
          continue;
        case 4: harness.report(trial, Json{{"loss", "NaN"}, {"epoch", ++epoch[trial]}}); break;
        default: harness.report(trial, metrics(++epoch[trial])); break;
      }
      if (harness.phase(trial) == TrialPhase::kSuggested) {
        epoch[trial] = static_cast<int>(state.trial(trial).resource);
        harness.submit_clones();
        continue;
      }
      CHECK(state.trial(trial).rung >= rung);
      if (epoch[trial] >= kEpochs && harness.phase(trial) == TrialPhase::kRunning)
        harness.end(trial, TrialOutcome::kCompleted, metrics(epoch[trial]));
    }
    for (const auto& trial : state.trials) CHECK(has_ended(trial.phase));

    const auto again = replay_sweep(1, harness.log);
    REQUIRE(again.has_value());
    CHECK(again->phase == state.phase);
    CHECK(again->reason == state.reason);
    CHECK(again->best == state.best);
    REQUIRE(again->trials.size() == state.trials.size());
    for (std::size_t i = 0; i < state.trials.size(); ++i) {
      CHECK(again->trials[i].phase == state.trials[i].phase);
      CHECK(again->trials[i].reason == state.trials[i].reason);
      CHECK(again->trials[i].loss == state.trials[i].loss);
    }
  }
}

TEST_CASE("sweep: suggestions of random do not depend on the order in which trials end") {
  Harness one(Json{{"limits", {{"trials", 12}}}}), other(Json{{"limits", {{"trials", 12}}}});
  run(one, 1, 3, bowl);
  run(other, 5, 3, bowl);
  CHECK(suggestions(one.log) == suggestions(other.log));
}

TEST_CASE("sweep: asha pauses and promotes") {
  Harness harness(Json{{"schedule", {{"asha", {{"max", 9}}}}}, {"limits", {{"trials", 4}, {"running", 1}}}});
  for (std::int64_t trial = 0; trial < 3; ++trial) {
    CHECK(harness.start() == std::vector<std::int64_t>{trial});
    harness.report(trial, {{"loss", 3 - trial}, {"epoch", 1}});
    CHECK(harness.phase(trial) == TrialPhase::kPaused);
  }
  CHECK(harness.state->trial(1).reason == "rank 1 of 2 at rung 0 (1), 0 go on");
  CHECK(std::holds_alternative<PauseTrial>(harness.done.back()));
  // The best of three goes on before a new trial starts.
  CHECK(harness.start() == std::vector<std::int64_t>{2});
  CHECK(std::holds_alternative<ReleaseTrial>(harness.done.back()));
  CHECK(harness.state->trial(2).reason == "rank 1 of 3 at rung 0 (1), 1 goes on");
  // Work that is done again after a restart comes to no rung.
  harness.report(2, {{"loss", 0.1}, {"epoch", 1}});
  CHECK(harness.phase(2) == TrialPhase::kRunning);
  harness.report(2, {{"loss", 0.5}, {"epoch", 3}});
  CHECK(harness.phase(2) == TrialPhase::kPaused);
  CHECK(harness.start() == std::vector<std::int64_t>{3});
  harness.report(3, {{"loss", 9}, {"epoch", 1}});
  // Nothing is left to run, and no trial has come to the last rung: the best one does.
  CHECK(harness.start() == std::vector<std::int64_t>{2});
  harness.report(2, {{"loss", 0.25}, {"epoch", 9}});
  CHECK(harness.phase(2) == TrialPhase::kStopping);
  harness.end(2, TrialOutcome::kCompleted, {{"loss", 0.25}, {"epoch", 9}});
  CHECK(harness.state->phase == SweepPhase::kSucceeded);
  CHECK(harness.state->best == 2);
  CHECK(harness.state->trial(2).value(false) == 0.25);
  // The jobs of those that were paused end.
  int stopped = 0;
  for (const auto& action : harness.done) stopped += std::holds_alternative<StopTrial>(action) ? 1 : 0;
  CHECK(stopped == 1 + 3);
}

TEST_CASE("sweep: a trial that ran past its pause to its end has come to the rungs on the way") {
  Harness harness(Json{{"schedule", {{"asha", {{"max", 9}}}}}, {"limits", {{"trials", 2}, {"running", 1}}}});
  harness.start();
  harness.report(0, {{"loss", 1}, {"epoch", 1}});
  CHECK(harness.phase(0) == TrialPhase::kPaused);
  // Its job was asked to yield, and was quicker.
  harness.end(0, TrialOutcome::kCompleted, {{"loss", 0.2}, {"epoch", 9}});
  CHECK(harness.state->trial(0).rung == 2);
  CHECK(harness.state->trial(0).reached == 9);
  CHECK(harness.start() == std::vector<std::int64_t>{1});
  harness.report(1, {{"loss", 0.5}, {"epoch", 1}});
  // One has come to the last rung, so nobody else must.
  CHECK(harness.state->phase == SweepPhase::kSucceeded);
  CHECK(harness.state->best == 0);
}

TEST_CASE("sweep: a clone is where its checkpoint is, ahead of the member or behind it") {
  Harness harness(Json{{"schedule", {{"pbt", {{"interval", 2}, {"max", 9}}}}},
                       {"limits", {{"trials", 4}, {"running", 4}, {"no_better_trials", 0}}}});
  harness.start(4);
  for (const std::int64_t trial : {1, 2}) harness.report(trial, {{"loss", 2}, {"epoch", 2}});
  harness.report(0, {{"loss", 1}, {"epoch", 2}});
  for (int epoch : {3, 4, 5}) harness.report(0, {{"loss", 1}, {"epoch", epoch}});
  CHECK(harness.state->trial(0).rung == 2);

  // Member 3 is the worst, and the donor is ahead.
  const auto before = harness.state->trial(3);
  harness.report(3, {{"loss", 9}, {"epoch", 2}});
  const auto& member = harness.state->trial(3);
  CHECK(member.phase == TrialPhase::kSuggested);
  CHECK(member.job == JobId(0));
  CHECK(member.replaced == before.job);
  CHECK(member.from == CloneSource{0, harness.state->trial(0).job, "/runs/0"});
  CHECK(member.rung == 2);
  CHECK(member.resource == 5);
  CHECK(member.point != before.point);
  CHECK(std::isnan(member.value(false)));
  CHECK(harness.state->active == 4);
  const auto& clone = std::get<CloneTrial>(harness.done.back());
  CHECK(clone.trial == 3);
  CHECK(clone.replaced == before.job);
  CHECK(clone_text(*harness.state, 3) == "trial 3 goes on from /runs/0, the checkpoint of trial 0");
  // The report of a job that it has no more comes to nothing.
  harness.report(3, {{"loss", 9}, {"epoch", 4}});
  CHECK(harness.phase(3) == TrialPhase::kSuggested);
  harness.submit_clones();
  CHECK(harness.phase(3) == TrialPhase::kRunning);
  CHECK(harness.state->trial(3).job != before.job);
  harness.report(3, {{"loss", 1.5}, {"epoch", 6}});
  CHECK(harness.state->trial(3).rung == 3);
  CHECK(harness.state->trial(3).resource == 6);

  // Member 3 was the furthest, and is behind now: its old value is nobody's, and it is not judged again
  // before it has come further than it was.
  CHECK(harness.state->best == 3);
  const auto point = harness.state->trial(3).point;
  harness.report(3, {{"loss", 8}, {"epoch", 8}});
  REQUIRE(harness.phase(3) == TrialPhase::kSuggested);
  CHECK(harness.state->trial(3).rung == 4);
  CHECK(harness.state->trial(3).resource == 5);
  CHECK(harness.state->best == 0);
  CHECK(harness.state->trial(3).point != point);
  harness.submit_clones();
  for (const int epoch : {6, 8}) harness.report(3, {{"loss", 9}, {"epoch", epoch}});
  CHECK(harness.phase(3) == TrialPhase::kRunning);
  CHECK(harness.state->trial(3).rung == 4);
  harness.report(3, {{"loss", 0.5}, {"epoch", 10}});
  CHECK(harness.state->trial(3).rung == 5);
  CHECK(harness.state->trial(3).rungs == 4);
}

TEST_CASE("sweep: a population whose members get worse as they train comes to its end") {
  Harness harness(Json{{"schedule", {{"pbt", {{"interval", 1}, {"quantile_fraction", 0.5}}}}},
                       {"limits", {{"trials", 4}, {"running", 4}}}});
  run(harness, 4, 9, [](const Point&, int epoch) { return 1.0 * epoch; });
  CHECK(harness.state->phase == SweepPhase::kSucceeded);
}

TEST_CASE("sweep: a member whose donor has no checkpoint for it goes on as it is") {
  Harness harness(
      Json{{"schedule", {{"pbt", {{"interval", 2}}}}}, {"limits", {{"trials", 2}, {"running", 2}}}});
  harness.start(2);
  harness.report(0, {{"loss", 1}, {"epoch", 2}});
  harness.checkpoints.clear();
  harness.report(1, {{"loss", 9}, {"epoch", 2}});
  CHECK(harness.phase(1) == TrialPhase::kRunning);
  for (const std::int64_t trial : {0, 1})
    harness.end(trial, TrialOutcome::kCompleted, {{"loss", 1}, {"epoch", 3}});
  CHECK(harness.state->phase == SweepPhase::kSucceeded);
}

TEST_CASE("sweep: one report may cross several rungs") {
  Harness harness(Json{{"schedule", {{"asha", {{"max", 9}, {"mode", "stop"}}}}}});
  harness.start();
  harness.report(0, {{"loss", 1}, {"epoch", 5}});
  CHECK(harness.state->trial(0).rung == 1);
  harness.report(0, {{"loss", 1}, {"epoch", 20}});
  CHECK(harness.phase(0) == TrialPhase::kStopping);
  CHECK(harness.state->trial(0).finished);
}

TEST_CASE("sweep: a trial that has all that its schedule gives keeps the value of the last rung") {
  Harness harness(Json{{"schedule", {{"asha", {{"max", 9}, {"mode", "stop"}}}}}});
  harness.start();
  harness.report(0, {{"loss", 0.5}, {"epoch", 9}});
  REQUIRE(harness.state->trial(0).finished);
  // Its worker made one more epoch before it yielded, and another one would have made none.
  harness.end(0, TrialOutcome::kCompleted, {{"loss", 0.75}, {"epoch", 10}});
  CHECK(harness.phase(0) == TrialPhase::kCompleted);
  CHECK(harness.state->trial(0).value(false) == 0.5);
}

TEST_CASE("sweep: a report that does not say how far the trial is comes to no rung") {
  const Json median{{"median", {{"startup_trials", 1}}}}, asha{{"asha", {{"max", 9}, {"mode", "stop"}}}};
  for (const auto& schedule : {median, asha}) {
    INFO(schedule.dump());
    Harness harness(Json{{"schedule", schedule}});
    harness.start();
    // Of every step, among those of the epochs: many, and each after work that may be done again.
    for (int step = 0; step < 20; ++step) harness.report(0, {{"loss", 1}});
    CHECK(harness.state->trial(0).rung == -1);
    harness.report(0, {{"loss", 0.5}, {"epoch", 1}});
    CHECK(harness.state->trial(0).resource == 1);
    CHECK(harness.state->trial(0).reports == 21);
    const int rung = harness.state->trial(0).rung;
    harness.report(0, {{"loss", 1}});
    CHECK(harness.state->trial(0).rung == rung);
    harness.end(0, TrialOutcome::kCompleted, {{"loss", 1}});
    CHECK(harness.phase(0) == TrialPhase::kCompleted);
  }
}

TEST_CASE("sweep: a trial that never said how far it is has failed where a schedule measures it") {
  Harness harness(Json{{"schedule", {{"asha", {{"max", 9}}}}}, {"limits", {{"trials", 5}}}});
  harness.start();
  harness.report(0, {{"loss", 1}});
  harness.end(0, TrialOutcome::kCompleted, {{"loss", 1}});
  CHECK(harness.phase(0) == TrialPhase::kFailed);
  CHECK(
      harness.state->trial(0).reason ==
      "it came to no rung, and its last report has no number \"epoch\", which rungs are measured in: report "
      "it, or name in `resource` of the sweep file a number that is reported and only grows");
  // Without a schedule reports are counted.
  Harness plain(Json{{"limits", {{"trials", 5}}}});
  plain.start();
  plain.end(0, TrialOutcome::kCompleted, {{"loss", 1}});
  CHECK(plain.phase(0) == TrialPhase::kCompleted);
  CHECK(plain.state->trial(0).resource == 1);
}

TEST_CASE("sweep: what is no number is the worst, and a report without the metric decides nothing") {
  Harness harness(Json{{"schedule", {{"asha", {{"max", 9}, {"mode", "stop"}}}}},
                       {"limits", {{"trials", 3}, {"running", 3}}}});
  harness.start(3);
  harness.report(0, {{"other", 1}, {"epoch", 1}});
  CHECK(harness.state->trial(0).rung == -1);
  harness.report(0, {{"loss", "NaN"}, {"epoch", 1}});
  CHECK(harness.phase(0) == TrialPhase::kStopping);
  CHECK(harness.state->trial(0).reason == "its value at rung 0 (1) is no number");
  CHECK(harness.state->best == -1);
  harness.report(1, {{"loss", 7}, {"epoch", 1}});
  CHECK(harness.state->best == 1);
  CHECK(std::isnan(harness.state->trial(0).value(false)));
}

TEST_CASE("sweep: what is given is tried first, the job's own values as trial 0") {
  Harness harness(Json{{"job", {{"command", {"true"}}, {"train_loop_config", {{"lr", 0.5}, {"width", 16}}}}},
                       {"baseline", true},
                       {"start_with", {{{"lr", 0.25}}}}});
  harness.start(3);
  CHECK(harness.state->trial(0).by == "baseline");
  CHECK(harness.state->space->to_json(harness.state->trial(0).point) == Json{{"lr", 0.5}, {"width", 16}});
  CHECK(harness.state->trial(1).by == "start_with");
  CHECK(harness.state->trial(1).point[0] == 0.25);
  CHECK(harness.state->trial(2).by == "random");
  harness.put(proto::TrialEnqueued{{{"width", 9}}, "ada"});
  harness.start(4);
  CHECK(harness.state->trial(3).by == "enqueued");
  CHECK(harness.state->trial(3).point[1] == 9);
  const auto refused = fold(*harness.state, proto::TrialEnqueued{{{"width", 7}}, "ada"});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message() == "width: 7 is not in [8, 64]");
}

TEST_CASE("sweep: trials that fail") {
  SECTION("before any has succeeded they end the sweep with the error") {
    Harness harness(Json{{"limits", {{"trials", 10}, {"running", 2}}}});
    for (int i = 0; i < 2; ++i) {
      harness.start(2);
      harness.end(i, TrialOutcome::kFailed, Json::object(), "exit status 1");
      CHECK(harness.state->phase == SweepPhase::kRunning);
    }
    harness.start(2);
    harness.end(2, TrialOutcome::kFailed, Json::object(), "no such file: data.bin");
    CHECK(harness.state->phase == SweepPhase::kStopping);
    CHECK(harness.phase(3) == TrialPhase::kStopping);
    harness.end(3, TrialOutcome::kPruned);
    CHECK(harness.state->phase == SweepPhase::kFailed);
    CHECK(harness.state->reason ==
          "3 trials failed before any succeeded, the last with: no such file: data.bin");
  }
  SECTION("later they are not shown to the searcher") {
    Harness harness;
    harness.start(2);
    harness.end(0, TrialOutcome::kCompleted, {{"loss", 1}});
    harness.end(1, TrialOutcome::kFailed, Json::object(), "exit status 1");
    CHECK(history_of(*harness.state).size() == 1);
  }
  SECTION("one whose parameters cannot be trained does not count") {
    Harness harness(Json{{"limits", {{"trials", 2}, {"running", 1}}}});
    harness.start();
    harness.end(0, TrialOutcome::kInvalid);
    CHECK(harness.start() == std::vector<std::int64_t>{1});
    harness.end(1, TrialOutcome::kCompleted, {{"loss", 1}});
    CHECK(harness.start() == std::vector<std::int64_t>{2});
    harness.end(2, TrialOutcome::kCompleted, {{"loss", 2}});
    CHECK(harness.state->phase == SweepPhase::kSucceeded);
    CHECK(harness.state->reason == "2 trials, the best is 1");
  }
  SECTION("a space of which nothing can be trained is not searched for ever") {
    Harness harness(Json{{"limits", {{"trials", 12}, {"running", 1}}}});
    harness.start();
    harness.end(0, TrialOutcome::kInvalid);
    harness.start();
    harness.end(1, TrialOutcome::kCompleted, {{"loss", 1}});
    for (std::int64_t trial = 2; trial < 14; ++trial) {
      REQUIRE(harness.start() == std::vector<std::int64_t>{trial});
      harness.end(trial, TrialOutcome::kInvalid, Json::object(), "width 7 is odd");
    }
    CHECK(harness.start().empty());
    CHECK(harness.state->phase == SweepPhase::kSucceeded);
    CHECK(harness.state->reason ==
          "12 trials in a row have parameters that cannot be trained: narrow `parameters`. The last: width 7 "
          "is odd");
  }
}

TEST_CASE("sweep: limits") {
  SECTION("target") {
    Harness harness(Json{{"mode", "max"}, {"limits", {{"trials", 9}, {"target", 0.9}}}});
    harness.start(2);
    harness.end(0, TrialOutcome::kCompleted, {{"loss", 0.8}});
    CHECK(harness.state->phase == SweepPhase::kRunning);
    harness.end(1, TrialOutcome::kCompleted, {{"loss", 0.95}});
    CHECK(harness.state->phase == SweepPhase::kSucceeded);
    CHECK(harness.state->reason == "trial 1 is as good as limits.target, 0.9");
  }
  SECTION("trials that are not better") {
    Harness harness(Json{{"limits", {{"trials", 9}, {"no_better_trials", 2}}}});
    for (int i = 0; i < 3; ++i) {
      harness.start();
      CHECK(harness.state->phase == SweepPhase::kRunning);
      harness.end(i, TrialOutcome::kCompleted, {{"loss", i}});
    }
    CHECK(harness.state->reason == "2 trials in a row were not better than trial 0");
  }
  SECTION("hours and GPU-hours") {
    Harness harness(Json{{"limits", {{"trials", 9}, {"hours", 2}, {"gpu_hours", 10}}}});
    CHECK_FALSE(limit_hit(*harness.state, {1.9, 9.9}).has_value());
    CHECK(limit_hit(*harness.state, {2, 0})->reason == "limits.hours of 2 is used up");
    CHECK(limit_hit(*harness.state, {0, 10})->reason == "limits.gpu_hours of 10 is used up");
    harness.start(2);
    harness.put(*limit_hit(*harness.state, {2, 0}));
    CHECK(harness.start(9).empty());
    harness.end(0, TrialOutcome::kCompleted, {{"loss", 1}});
    CHECK(harness.state->phase == SweepPhase::kStopping);
    harness.end(1, TrialOutcome::kCompleted, {{"loss", 1}});
    CHECK(harness.state->phase == SweepPhase::kSucceeded);
  }
  SECTION("running, of tpe a quarter of the trials") {
    CHECK(running_max(*Harness(Json{{"search", "tpe"}, {"limits", {{"trials", 40}}}}).state) == 10);
    CHECK(running_max(
              *Harness(Json{{"search", "tpe"}, {"limits", {{"trials", 40}, {"running", 3}}}}).state) == 3);
    CHECK_FALSE(next(*Harness().state, kWaitingMax).has_value());
  }
  SECTION("running, of cmaes a generation") {
    const Json more{{"search", {{"method", "cmaes"}, {"popsize", 7}}}};
    CHECK(running_max(*Harness(more).state) == 7);
  }
  SECTION("the best trial's own end is not one of those that are not better") {
    Harness harness(Json{{"schedule", {{"asha", {{"max", 3}, {"mode", "stop"}}}}},
                         {"limits", {{"trials", 9}, {"no_better_trials", 1}}}});
    harness.start();
    harness.report(0, {{"loss", 1}, {"epoch", 1}});
    CHECK(harness.state->best == 0);
    harness.report(0, {{"loss", 0.5}, {"epoch", 3}});
    harness.end(0, TrialOutcome::kCompleted, {{"loss", 0.5}, {"epoch", 3}});
    CHECK(harness.state->not_better_in_row == 0);
    CHECK(harness.state->phase == SweepPhase::kRunning);
  }
}

TEST_CASE("sweep: what violates its constraints ranks below what does not") {
  Harness harness(Json{{"constraints", {{"params_m", {{"max", 25}}}}}, {"limits", {{"trials", 3}}}});
  harness.start(3);
  harness.end(0, TrialOutcome::kCompleted, {{"loss", 0.1}, {"params_m", 30}});
  CHECK(harness.state->best == 0);
  harness.end(1, TrialOutcome::kCompleted, {{"loss", 0.3}, {"params_m", 26}});
  CHECK(harness.state->best == 1);
  harness.end(2, TrialOutcome::kCompleted, {{"loss", 0.9}, {"params_m", 25}});
  CHECK(harness.state->best == 2);
}

TEST_CASE("sweep: a constrained metric that is no number, or is missing, is out of its bounds by most") {
  const std::vector<Json> unknown{Json{{"loss", 0.1}, {"params_m", "Infinity"}},
                                  Json{{"loss", 0.1}, {"params_m", "NaN"}}, Json{{"loss", 0.1}}};
  for (const auto& metrics : unknown) {
    Harness harness(
        Json{{"constraints", {{"params_m", {{"max", 25}}}}}, {"limits", {{"trials", 3}, {"target", 0.2}}}});
    harness.start(2);
    harness.end(0, TrialOutcome::kCompleted, metrics);
    CHECK(std::isinf(harness.state->trial(0).violation));
    CHECK(harness.state->phase == SweepPhase::kRunning);  // no trial that meets the target
    harness.end(1, TrialOutcome::kCompleted, {{"loss", 0.9}, {"params_m", 1000}});
    CHECK(harness.state->best == 1);
  }
}

TEST_CASE("sweep: trials of several brackets compare by resource, not by the number of a rung") {
  Harness harness(Json{{"schedule", {{"hyperband", {{"max", 9}, {"brackets", "conservative"}}}}},
                       {"limits", {{"trials", 30}, {"running", 30}, {"target", 0.01}}}});
  harness.start(30);
  // Rung 1 of the longest bracket is at 3; rung 0 of the shortest is at 9.
  std::int64_t long_one = -1, short_one = -1;
  for (std::int64_t trial = 0; trial < 30; ++trial) {
    if (harness.state->schedule.resource_of(trial, 0) == 1) long_one = trial;
    if (harness.state->schedule.resource_of(trial, 0) == 9) short_one = trial;
  }
  REQUIRE(long_one >= 0);
  REQUIRE(short_one >= 0);
  const auto reach = [&](std::int64_t trial, int rung, double resource, double loss) {
    harness.put(proto::RungReached{trial, rung, resource, loss, {}, true});
  };
  reach(long_one, 0, 1, 0.5);
  reach(long_one, 1, 3, 0.5);
  CHECK(harness.state->best == long_one);
  reach(short_one, 0, 9, 0.7);
  CHECK(harness.state->trial(short_one).reached == 9);
  CHECK(harness.state->best == short_one);
  // The target is hit by any trial, however far it came.
  std::int64_t other = 0;
  while (other == long_one || other == short_one || harness.state->schedule.resource_of(other, 0) != 1)
    ++other;
  reach(other, 0, 1, 0.001);
  CHECK(harness.state->best == short_one);
  harness.follow();
  CHECK(harness.state->phase == SweepPhase::kStopping);
  CHECK(harness.state->reason == "trial " + std::to_string(other) + " is as good as limits.target, 0.01");
}

TEST_CASE("sweep: work that is done again crosses no rung that the trial is yet to come to") {
  Harness harness(Json{{"schedule", {{"asha", {{"max", 9}}}}}, {"limits", {{"trials", 3}, {"running", 1}}}});
  for (std::int64_t trial = 0; trial < 3; ++trial) {
    harness.start();
    harness.report(trial, {{"loss", trial}, {"epoch", 5}});
    CHECK(harness.phase(trial) == TrialPhase::kPaused);
  }
  CHECK(harness.start() == std::vector<std::int64_t>{0});
  harness.report(0, {{"loss", 0}, {"epoch", 4}});
  CHECK(harness.state->trial(0).rung == 0);
  harness.report(0, {{"loss", 0}, {"epoch", 6}});
  CHECK(harness.state->trial(0).rung == 1);
}

TEST_CASE("sweep: parameters that are enqueued bring the condition of theirs along") {
  const Json parameters{{"momentum", {{"float", {0, 1}}, {"when", {{"optimizer", "sgd"}}}}},
                        {"optimizer", {{"choice", {"adam", "lion", "sgd"}}}}};
  for (int seed = 0; seed < 5; ++seed) {
    Harness harness(Json{{"seed", seed}}, parameters);
    harness.put(proto::TrialEnqueued{{{"momentum", 0.5}}, "ada"});
    harness.start();
    CHECK(harness.state->trial(0).by == "enqueued");
    CHECK(harness.state->space->to_json(harness.state->trial(0).point) ==
          Json{{"momentum", 0.5}, {"optimizer", "sgd"}});
    CHECK(harness.state->queue.empty());
  }
}

TEST_CASE("sweep: what is enqueued counts as a trial, and says whose parameters it has again") {
  Harness harness(Json{{"limits", {{"trials", 1}}}, {"baseline", false}});
  harness.put(proto::TrialEnqueued{{{"lr", 0.5}}, "ada"});
  CHECK(trials_to_give(*harness.state) == 0);
  const auto full = fold(*harness.state, proto::TrialEnqueued{{{"lr", 0.25}}, "ada"});
  REQUIRE_FALSE(full.has_value());
  CHECK(full.error().code() == Errc::kConflict);
  CHECK(full.error().message() ==
        "all of its 1 trials (limits.trials) have their parameters or wait for their turn");
  harness.start();
  harness.end(0, TrialOutcome::kFailed, {}, "no memory");
  CHECK_FALSE(fold(*harness.state, proto::SweepExtended{0, "ada"}).has_value());
  CHECK(harness.state->phase == SweepPhase::kFailed);
  CHECK_FALSE(fold(*harness.state, proto::SweepExtended{1, "ada"}).has_value());
}

TEST_CASE("sweep: what is enqueued comes beside the points of a grid, and a grid has no more of its own") {
  Harness harness(Json{{"search", "grid"}, {"limits", Json::object()}},
                  {{"a", {{"grid", {1, 2}}}}, {"b", {{"choice", {"x", "y"}}}}});
  harness.put(proto::TrialEnqueued{{{"a", 2}, {"b", "y"}}, "ada"});
  CHECK(fold(*harness.state, proto::SweepExtended{1, "ada"}).error().code() == Errc::kConflict);
  CHECK(harness.start(9).size() == 5);
  std::set<std::string> points;
  for (const auto& trial : harness.state->trials)
    points.insert(harness.state->space->to_json(trial.point).dump());
  CHECK(points.size() == 4);
}

TEST_CASE("sweep: a searcher does not take a clone that nobody has judged for a bad one") {
  Harness harness(Json{{"schedule", {{"pbt", {{"interval", 1}}}}},
                       {"search", "tpe"},
                       {"limits", {{"trials", 4}, {"running", 4}}}});
  harness.start(4);
  for (const std::int64_t trial : {0, 1, 2}) harness.report(trial, {{"loss", 1}, {"epoch", 1}});
  harness.report(3, {{"loss", 9}, {"epoch", 1}});
  REQUIRE(harness.phase(3) == TrialPhase::kSuggested);
  const auto history = history_of(*harness.state);
  REQUIRE(history.size() == 4);
  CHECK(history[0].state == ObservedState::kPruned);
  CHECK(history[3].state == ObservedState::kRunning);
}

TEST_CASE("sweep: a trial is tried again with the same parameters and a new number") {
  Harness harness(Json{{"limits", {{"trials", 2}, {"running", 1}}}, {"baseline", false}});
  harness.start();
  harness.end(0, TrialOutcome::kFailed, {}, "no memory");
  harness.put(proto::SweepExtended{1, "ada"});
  harness.put(proto::TrialEnqueued{harness.state->space->to_json(harness.state->trial(0).point), "ada", 0});
  CHECK(harness.start() == std::vector<std::int64_t>{1});
  CHECK(harness.state->trial(1).by == "retry of 0");
  CHECK(harness.state->trial(1).point == harness.state->trial(0).point);
  harness.end(1, TrialOutcome::kCompleted, {{"loss", 1}, {"epoch", 1}});
  CHECK(harness.start() == std::vector<std::int64_t>{2});
  CHECK(harness.state->trial(2).by == "random");
}

TEST_CASE("sweep: an external search waits for its trials, and ends with the last") {
  Harness harness(Json{{"search", "external"}, {"limits", {{"trials", 2}}}, {"baseline", false}});
  CHECK(harness.start().empty());
  CHECK_FALSE(follow_up(*harness.state).has_value());
  harness.put(proto::TrialEnqueued{{{"lr", 0.5}, {"width", 16}}, "searcher"});
  CHECK(harness.start() == std::vector<std::int64_t>{0});
  harness.end(0, TrialOutcome::kCompleted, {{"loss", 1}, {"epoch", 1}});
  CHECK(harness.state->phase == SweepPhase::kRunning);
  harness.put(proto::TrialEnqueued{{{"lr", 0.25}, {"width", 16}}, "searcher"});
  harness.start();
  harness.end(1, TrialOutcome::kCompleted, {{"loss", 2}, {"epoch", 1}});
  CHECK(harness.state->phase == SweepPhase::kSucceeded);
  CHECK(harness.state->best == 0);
}

TEST_CASE("sweep: hold, release, extend, stop") {
  Harness harness(Json{{"limits", {{"trials", 1}}}});
  harness.put(proto::SweepHeld{"ada"});
  CHECK(harness.start().empty());
  CHECK_FALSE(follow_up(*harness.state).has_value());
  harness.put(proto::SweepReleased{"ada"});
  harness.start();
  harness.put(proto::SweepExtended{1, "ada"});
  harness.end(0, TrialOutcome::kCompleted, {{"loss", 1}});
  CHECK(harness.start() == std::vector<std::int64_t>{1});
  harness.put(proto::SweepStopping{"cancelled by ada", true, proto::SweepOutcome::kCancelled});
  CHECK(std::get<StopTrial>(harness.done.back()).trial == 1);
  harness.end(1, TrialOutcome::kCancelled);
  CHECK(harness.state->phase == SweepPhase::kCancelled);
  CHECK_FALSE(fold(*harness.state, proto::SweepHeld{"ada"}).has_value());
}

TEST_CASE("sweep: a grid runs each of its points once") {
  Harness harness(Json{{"search", "grid"}, {"limits", Json::object()}},
                  {{"a", {{"grid", {1, 2, 3}}}}, {"b", {{"grid", {"x", "y"}}}}});
  run(harness, 4, 1, [](const Point& point, int) { return point[0] + point[1]; });
  const auto all = suggestions(harness.log);
  CHECK(all.size() == 6);
  CHECK(std::set<Json>(all.begin(), all.end()).size() == 6);
  CHECK(harness.state->best == 0);
}

TEST_CASE("sweep: events that are not legal change nothing") {
  Harness harness(Json{{"schedule", {{"asha", {{"max", 9}}}}}});
  harness.start();
  const std::vector<SweepEvent> illegal{proto::TrialSuggested{5, {{"lr", 0.1}, {"width", 9}}, "random", 0},
                                        proto::TrialSuggested{1, {{"lr", 0.1}}, "random", 0},
                                        proto::TrialPromoted{0, 0, ""},
                                        proto::RungReached{0, -2, 1, 0.5, {}, true},
                                        proto::RungReached{0, 3, 9, 0.5, {}, true},
                                        proto::TrialPaused{7, 0, ""},
                                        proto::TrialCloned{0, 0, 0, {{"lr", 0.1}, {"width", 9}}, "/c", "", 0},
                                        proto::SweepReleased{"ada"},
                                        proto::SweepEnded{},
                                        harness.log.front().event};
  for (const auto& event : illegal) {
    INFO(event_name(event));
    const auto refused = fold(*harness.state, event);
    CHECK_FALSE(refused.has_value());
    CHECK(harness.state->trials.size() == 1);
    CHECK(harness.state->active == 1);
  }
  // A paused trial goes on from the rung at which it paused.
  harness.report(0, {{"loss", 1}, {"epoch", 1}});
  REQUIRE(harness.phase(0) == TrialPhase::kPaused);
  for (const int rung : {-1, 1, 7}) {
    CHECK_FALSE(fold(*harness.state, proto::TrialPromoted{0, rung, ""}).has_value());
    CHECK(harness.phase(0) == TrialPhase::kPaused);
  }
}

}  // namespace sweep_sweep_test
