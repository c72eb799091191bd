// Against Optuna 5.0.0: tests/golden/sweep/trace_optuna.py wrote what it makes of the same histories.
#include "daemon/core/sweep/tpe.h"
#include "daemon/core/sweep/parzen.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/core/sweep/golden.h"

#include <cmath>

namespace tpe_test {

using namespace rtrain;
using namespace rtrain::core;
using proto::Json;

namespace {

std::vector<Observation> history_of(const Space& space, const Json& golden) {
  const double sign = golden.at("mode") == "max" ? -1 : 1;
  std::vector<Observation> history;
  for (const auto& entry : golden.at("history")) {
    Observation trial;
    trial.trial = static_cast<std::int64_t>(history.size());
    trial.point = space.point_of(entry.at("params")).value();
    const auto state = entry.at("state").get<std::string>();
    trial.state = state == "running"  ? ObservedState::kRunning
                  : state == "pruned" ? ObservedState::kPruned
                                      : ObservedState::kComplete;
    trial.loss = sign * entry.value("value", 0.0);
    trial.resource = entry.value("resource", 0.0);
    trial.violation = entry.value("violation", 0.0);
    history.push_back(std::move(trial));
  }
  return history;
}

std::vector<std::int64_t> numbers(const std::vector<const Observation*>& trials) {
  std::vector<std::int64_t> of;
  for (const auto* trial : trials) of.push_back(trial->trial);
  return of;
}

void check_close(const std::vector<double>& ours, const std::vector<double>& theirs, double relative) {
  REQUIRE(ours.size() == theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    INFO("element " << i);
    CHECK(std::abs(ours[i] - theirs[i]) <= relative * std::max(1.0, std::abs(theirs[i])));
  }
}

ParzenEstimator check_side(const Space& space, const std::vector<const Observation*>& trials,
                           const Json& golden, const std::vector<Point>& candidates) {
  CHECK(numbers(trials) == golden.at("trials").get<std::vector<std::int64_t>>());
  std::vector<std::size_t> axes;
  for (std::size_t i = 0; i < space.size(); ++i) axes.push_back(i);
  std::vector<const Point*> points;
  for (const auto* trial : trials) points.push_back(&trial->point);
  ParzenEstimator estimator(space, axes, points);
  check_close(estimator.weights(), golden.at("weights").get<std::vector<double>>(), 1e-12);
  for (std::size_t i = 0; i < space.size(); ++i) {
    const auto& path = space.parameters()[i].path;
    INFO(path);
    if (!golden.at("kernels").contains(path)) continue;
    const auto& kernels = golden.at("kernels").at(path);
    check_close(estimator.mus(i), kernels.at("mus").get<std::vector<double>>(), 1e-12);
    check_close(estimator.sigmas(i), kernels.at("sigmas").get<std::vector<double>>(), 1e-12);
  }
  check_close(estimator.log_pdf(candidates), golden.at("log_pdf").get<std::vector<double>>(), 1e-9);
  return estimator;
}

}  // namespace

TEST_CASE("tpe: split, kernels and densities are Optuna's") {
  const auto file = golden_file("tpe.json");
  for (const auto& golden : file.at("cases")) {
    INFO(golden.at("name").get<std::string>());
    const auto space = space_of(golden.at("parameters"));
    const auto history = history_of(space, golden);
    std::vector<Point> candidates;
    for (const auto& candidate : golden.at("candidates"))
      candidates.push_back(space.point_of(candidate).value());
    const auto split = split_for_tpe(history);
    const auto below = check_side(space, split.below, golden.at("below"), candidates);
    const auto above = check_side(space, split.above, golden.at("above"), candidates);
    // what decides
    const auto good = below.log_pdf(candidates), bad = above.log_pdf(candidates);
    const auto their_good = golden.at("below").at("log_pdf").get<std::vector<double>>();
    const auto their_bad = golden.at("above").at("log_pdf").get<std::vector<double>>();
    for (std::size_t i = 0; i < candidates.size(); ++i)
      CHECK(std::abs((good[i] - bad[i]) - (their_good[i] - their_bad[i])) <=
            1e-9 * std::max(1.0, std::abs(their_good[i] - their_bad[i])));
  }
}

TEST_CASE("tpe: what it draws follows the density that it states") {
  const auto space = space_of(
      Json{{"x", {{"float", {0, 1}}}}, {"k", {{"int", {0, 3}}}}, {"c", {{"choice", {"a", "b", "c"}}}}});
  std::vector<Point> points;  // in the order c, k, x
  for (int i = 0; i < 6; ++i)
    points.push_back({static_cast<double>(i % 3), static_cast<double>(i % 2), 0.1 * i});
  std::vector<const Point*> pointers;
  for (const auto& point : points) pointers.push_back(&point);
  const ParzenEstimator estimator(space, {0, 1, 2}, pointers);
  constexpr std::size_t kCount = 20'000;
  std::map<std::pair<double, double>, double> drawn;
  for (const auto& point : estimator.sample(3, 0, kCount)) {
    CHECK((point[2] >= 0 && point[2] <= 1));
    drawn[{point[0], point[1]}] += 1.0 / kCount;
  }
  for (int c = 0; c < 3; ++c)
    for (int k = 0; k < 4; ++k) {
      // the mass of (c, k), by the midpoint rule over x
      constexpr int kCells = 200;
      std::vector<Point> grid;
      for (int i = 0; i < kCells; ++i) grid.push_back({1.0 * c, 1.0 * k, (i + 0.5) / kCells});
      double mass = 0;
      for (const double log : estimator.log_pdf(grid)) mass += std::exp(log) / kCells;
      CHECK((drawn[{c, k}]) == Approx(mass).margin(5 * std::sqrt(mass / kCount) + 1e-4));
    }
}

TEST_CASE("tpe: the same history gives the same point, and a running trial changes it") {
  const auto space = space_of(Json{{"lr", {{"float", {1e-5, 1e-1}}, {"log", true}}},
                                   {"momentum", {{"float", {0, 1}}, {"when", {{"optimizer", "sgd"}}}}},
                                   {"optimizer", {{"choice", {"adam", "sgd"}}}}});
  std::vector<Observation> history;
  for (std::int64_t trial = 0; trial < 40; ++trial) {
    const auto point = suggest_tpe(space, {}, 9, trial, history);
    CHECK(space.to_json(suggest_tpe(space, {}, 9, trial, history)) == space.to_json(point));
    CHECK(space.point_of(space.to_json(point)).has_value());
    history.push_back({trial, point, ObservedState::kComplete, std::abs(std::log10(point[0]) + 3), 0, 0});
  }
  const auto next = suggest_tpe(space, {}, 9, 41, history);
  history.push_back({40, next, ObservedState::kRunning, 0, 0, 0});
  CHECK(space.to_json(suggest_tpe(space, {}, 9, 41, history)) != space.to_json(next));
}

TEST_CASE("tpe: of very many trials the best and the newest count") {
  std::vector<Observation> history;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(kTpeAboveMax) + 500; ++i) {
    Observation trial;
    trial.trial = i;
    trial.state = i == 499 ? ObservedState::kRunning : ObservedState::kComplete;
    trial.loss = static_cast<double>(i % 100 == 0 ? 0 : 1);
    history.push_back(trial);
  }
  const auto split = split_for_tpe(history);
  CHECK(split.below.size() == 25);
  CHECK(split.below.front()->trial == 0);  // as old as it is
  REQUIRE(split.above.size() == kTpeAboveMax);
  CHECK(split.above.front()->trial == 480);  // five of those before it are good
  CHECK(split.above.back()->trial == history.back().trial);
}

}  // namespace tpe_test
