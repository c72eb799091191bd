// How good and how fast the searchers of a sweep are: prints one JSON line. `sweep_bench [SEEDS]`,
// default 30. The functions and the number of trials are those of Optuna's own comparisons; each suggestion
// sees all results.
#include "daemon/core/sweep/sweep.h"
#include "daemon/core/sweep/tpe.h"
#include "proto/json.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numbers>

using namespace rtrain;
using namespace rtrain::core;
using proto::Json;

namespace {

using Function = std::function<double(const Point&)>;

Space floats(std::vector<std::pair<double, double>> ranges) {
  std::vector<proto::SweepParameter> parameters;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    proto::Domain domain;
    domain.low = ranges[i].first, domain.high = ranges[i].second;
    parameters.push_back({"x" + std::to_string(i), domain, {}});
  }
  return Space(std::move(parameters));
}

/// Least value 0.397887.
double branin(const Point& x) {
  constexpr double kPi = std::numbers::pi;
  const double b = 5.1 / (4 * kPi * kPi), c = 5 / kPi, t = 1 / (8 * kPi);
  const double inner = x[1] - b * x[0] * x[0] + c * x[0] - 6;
  return inner * inner + 10 * (1 - t) * std::cos(x[0]) + 10;
}

/// Least value -3.32237.
double hartmann6(const Point& x) {
  constexpr double kAlpha[] = {1.0, 1.2, 3.0, 3.2};
  constexpr double kA[4][6] = {{10, 3, 17, 3.5, 1.7, 8},
                               {0.05, 10, 17, 0.1, 8, 14},
                               {3, 3.5, 1.7, 10, 17, 8},
                               {17, 8, 0.05, 10, 0.1, 14}};
  constexpr double kP[4][6] = {{1312, 1696, 5569, 124, 8283, 5886},
                               {2329, 4135, 8307, 3736, 1004, 9991},
                               {2348, 1451, 3522, 2883, 3047, 6650},
                               {4047, 8828, 8732, 5743, 1091, 381}};
  double sum = 0;
  for (int i = 0; i < 4; ++i) {
    double inner = 0;
    for (int j = 0; j < 6; ++j) {
      const double d = x[static_cast<std::size_t>(j)] - kP[i][j] * 1e-4;
      inner += kA[i][j] * d * d;
    }
    sum -= kAlpha[i] * std::exp(-inner);
  }
  return sum;
}

double best_by_tpe(const Space& space, const Function& function, std::uint64_t seed, int trials) {
  std::vector<Observation> history;
  double best = std::numeric_limits<double>::infinity();
  for (std::int64_t trial = 0; trial < trials; ++trial) {
    const auto point = suggest_tpe(space, {}, seed, trial, history);
    const double loss = function(point);
    best = std::min(best, loss);
    history.push_back({trial, point, ObservedState::kComplete, loss, 0, 0});
  }
  return best;
}

double best_by_cmaes(const Space& space, const Function& function, std::uint64_t seed, int trials) {
  CmaEsSearch search(space, {});
  double best = std::numeric_limits<double>::infinity();
  for (std::int64_t trial = 0; trial < trials; ++trial) {
    const auto generation = search.generation();
    const auto point = search.suggest(space, seed, trial);
    const double loss = function(point);
    best = std::min(best, loss);
    search.on_loss(space, point, generation, loss);
  }
  return best;
}

/// Median and quartiles.
Json quartiles(std::vector<double> values) {
  std::ranges::sort(values);
  const auto at = [&](double part) {  // numpy's linear rule
    const double position = part * static_cast<double>(values.size() - 1);
    const auto low = static_cast<std::size_t>(position);
    const auto high = std::min(low + 1, values.size() - 1);
    return values[low] + (position - static_cast<double>(low)) * (values[high] - values[low]);
  };
  return {at(0.25), at(0.5), at(0.75)};
}

template <class Search>
Json over_seeds(int seeds, const Space& space, const Function& function, Search search) {
  std::vector<double> bests;
  for (int seed = 0; seed < seeds; ++seed)
    bests.push_back(search(space, function, static_cast<std::uint64_t>(seed), 100));
  return quartiles(std::move(bests));
}

/// Milliseconds of a suggestion after `trials` trials of six numbers: the median of some.
double suggestion_ms(std::int64_t trials) {
  const auto space = floats(std::vector<std::pair<double, double>>(6, {0.0, 1.0}));
  std::vector<Observation> history;
  for (std::int64_t trial = 0; trial < trials; ++trial) {
    const auto point = space.random(1, trial);
    history.push_back({trial, point, ObservedState::kComplete, hartmann6(point), 0, 0});
  }
  std::vector<double> times;
  double sink = 0;
  for (std::int64_t i = 0; i < 31; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    sink += suggest_tpe(space, {}, 1, trials + i, history)[0];
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::ranges::sort(times);
  return sink >= 0 ? times[times.size() / 2] : 0;
}

/// Microseconds of a report of one of `trials` trials that comes to a rung of ASHA, with all that follows
/// from it and the choice of what starts next: the median.
double decision_us(std::int64_t trials) {
  proto::SweepSpec spec;
  proto::Domain domain;
  domain.high = 1;
  spec.parameters = {{"x", domain, {}}};
  spec.metric = "loss";
  spec.baseline = false;
  spec.search.method = proto::SearchMethod::kRandom;
  spec.schedule.kind = proto::ScheduleKind::kAsha;
  spec.schedule.max = 81;
  spec.limits.trials = static_cast<int>(2 * trials);
  auto state = submitted_sweep(1, {spec, "ada"});
  std::vector<double> times;
  Draws draws(1, 0, 0, Purpose::kPoint);
  while (static_cast<std::int64_t>(state.trials.size()) < trials) {
    const auto begin = std::chrono::steady_clock::now();
    const auto started = next(state, 0);
    if (!started || !fold(state, *started)) return -1;
    std::int64_t trial = 0;
    if (const auto* suggested = std::get_if<proto::TrialSuggested>(&*started)) {
      trial = suggested->trial;
      if (!fold(state, proto::TrialSubmitted{trial, JobId(trial + 1)})) return -1;
    } else {
      trial = std::get<proto::TrialPromoted>(*started).trial;
    }
    const int rung = state.trial(trial).rung + 1;
    const Json metrics{{"loss", draws.uniform()}, {"epoch", std::pow(3.0, rung)}};
    const auto came = reached(state, {trial, metrics, 1, true});
    if (!came || !fold(state, *came)) return -1;
    bool stopped = false;
    while (const auto event = follow_up(state)) {
      stopped = stopped || std::holds_alternative<proto::TrialStopped>(*event);
      if (!fold(state, *event)) return -1;
    }
    if (stopped &&
        !fold(state, trial_ended(state, {trial, metrics, 1, true}, proto::TrialOutcome::kCompleted, "")))
      return -1;
    times.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
  }
  times.erase(times.begin(), times.end() - static_cast<std::ptrdiff_t>(times.size() / 10));  // the last tenth
  std::ranges::sort(times);
  return times[times.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const int seeds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 30;
  const auto plane = floats({{-5, 10}, {0, 15}});
  const auto cube = floats(std::vector<std::pair<double, double>>(6, {0.0, 1.0}));
  const Json figures{{"seeds", seeds},
                     {"trials", 100},
                     {"branin_tpe", over_seeds(seeds, plane, branin, best_by_tpe)},
                     {"branin_cmaes", over_seeds(seeds, plane, branin, best_by_cmaes)},
                     {"hartmann6_tpe", over_seeds(seeds, cube, hartmann6, best_by_tpe)},
                     {"hartmann6_cmaes", over_seeds(seeds, cube, hartmann6, best_by_cmaes)},
                     {"tpe_ms_100", suggestion_ms(100)},
                     {"tpe_ms_1000", suggestion_ms(1000)},
                     {"tpe_ms_5000", suggestion_ms(5000)},
                     {"decision_us", decision_us(10'000)}};
  std::printf("%s\n", proto::dump_json(figures).c_str());
  return 0;
}
