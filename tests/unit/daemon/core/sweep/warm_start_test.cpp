#include "daemon/core/sweep/warm_start.h"
#include "daemon/core/sweep/tpe.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/core/sweep/golden.h"

namespace warm_start_test {

using namespace rtrain;
using namespace rtrain::core;
using proto::Json;
using proto::TrialOutcome;

namespace {

const Json kLr{{"lr", {{"float", {1e-3, 1.0}}, {"log", true}}}};

void put(SweepState& state, const proto::SweepEvent& event) {
  const auto applied = fold(state, event);
  INFO(event_name(event) << (applied ? "" : ": " + applied.error().message()));
  REQUIRE(applied.has_value());
}

/// Trials with these losses at epoch 3; of NaN the trial failed.
SweepState earlier_sweep(const std::vector<double>& losses, Json more = {}) {
  more.update({{"limits", {{"trials", 50}, {"failed_max", 0}}}, {"baseline", false}});
  auto state = submitted_sweep(5, {sweep_of(kLr, std::move(more)), "ada"});
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const auto trial = static_cast<std::int64_t>(i);
    put(state, proto::TrialSuggested{trial, {{"lr", 0.001 * (1 + static_cast<double>(i))}}, "enqueued", 0});
    put(state, proto::TrialSubmitted{trial, JobId(10 + trial)});
    if (std::isnan(losses[i]))
      put(state, proto::TrialEnded{trial, TrialOutcome::kFailed, {}, 0, {}, "no memory"});
    else
      put(state, proto::TrialEnded{trial, TrialOutcome::kCompleted, losses[i], 3, {}, ""});
  }
  return state;
}

}  // namespace

TEST_CASE("warm start: what came to a value is known, and older than the sweep's own trials") {
  auto earlier = earlier_sweep({0.5, std::nan(""), 0.25});
  put(earlier, proto::TrialSuggested{3, {{"lr", 0.5}}, "enqueued", 0});
  const auto spec = sweep_of(kLr, {{"search", "tpe"}});
  const auto known = known_trials(earlier, spec);
  REQUIRE(known.has_value());
  REQUIRE(known->size() == 2);
  CHECK((*known)[1].params == Json{{"lr", 0.003}});
  CHECK((*known)[1].complete);
  CHECK((*known)[1].value == 0.25);
  CHECK((*known)[1].resource == 3);
  const auto sweep = submitted_sweep(6, {spec, "ada", "", *known});
  const auto history = history_of(sweep);
  REQUIRE(history.size() == 2);
  CHECK(history[0].trial == -2);
  CHECK(history[1].trial == -1);
  CHECK(history[1].loss == 0.25);
  CHECK(history[1].state == ObservedState::kComplete);
}

TEST_CASE("warm start: the searcher begins with a model, and a replay gives the same suggestion") {
  std::vector<double> losses;
  for (int i = 0; i < 20; ++i) losses.push_back(std::abs(i - 4));  // the best is at 0.005
  const auto spec = sweep_of(kLr, {{"search", "tpe"}, {"baseline", false}, {"limits", {{"trials", 8}}}});
  const proto::SweepSubmitted submitted{spec, "ada", "", known_trials(earlier_sweep(losses), spec).value()};
  const auto cold = submitted_sweep(6, {spec, "ada"}), warm = submitted_sweep(6, submitted);
  const auto first = suggest(cold).value().params, known = suggest(warm).value().params;
  CHECK(first != known);
  const auto& space = *warm.space;
  const auto history = observations_of(submitted.known, space, false);
  CHECK(history.size() == 20);
  CHECK(space.to_json(suggest_tpe(space, spec.search, spec.seed, 0, history)) == known);
  // As it stands in the journal.
  const auto json = to_json(proto::StampedSweepEvent{0, submitted});
  const auto read = proto::sweep_event_from_json(json).value();
  CHECK(suggest(replay_sweep(6, std::vector{read}).value()).value().params == known);
}

TEST_CASE("warm start: what measured something else, or fits nowhere, is refused with the reason") {
  const auto earlier = earlier_sweep({0.5, 0.25});
  const auto why = [&](const SweepState& of, const Json& parameters, const Json& more) {
    const auto known = known_trials(of, sweep_of(parameters, more));
    REQUIRE_FALSE(known.has_value());
    CHECK(known.error().code() == Errc::kInvalidArgument);
    return known.error().message();
  };
  CHECK(why(earlier, kLr, {{"metric", "accuracy"}, {"mode", "max"}}) ==
        "from: sweep 5: it searched for the least loss, not the most accuracy");
  CHECK(why(earlier, kLr, {{"resource", "step"}}) == "from: sweep 5: its resource is epoch, not step");
  CHECK(why(earlier, kLr, {{"constraints", {{"params_m", {{"max", 25}}}}}}) ==
        "from: sweep 5: its constraints are others");
  CHECK(why(earlier_sweep({std::nan("")}), kLr, Json::object()) ==
        "from: sweep 5: none of its trials has a value");
  CHECK(why(earlier, {{"width", {{"int", {8, 64}}}}}, Json::object())
            .find("from: sweep 5: no trial of it has the "
                  "parameters of this sweep: lr: ") == 0);
}

}  // namespace warm_start_test
