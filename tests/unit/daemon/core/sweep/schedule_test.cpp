#include "daemon/core/sweep/schedule.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/core/sweep/golden.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace schedule_test {

using namespace rtrain;
using namespace rtrain::core;
using proto::AshaMode;
using proto::Json;
using proto::ScheduleConfig;
using proto::ScheduleKind;

namespace {

ScheduleConfig halving(double max, double eta, AshaMode mode, ScheduleKind kind = ScheduleKind::kAsha) {
  ScheduleConfig config;
  config.kind = kind, config.max = max, config.eta = eta, config.mode = mode;
  return config;
}

/// Optuna's rule (SuccessiveHalvingPruner with bootstrap_count 0): of the values at the rung, its own among
/// them, the floor(n / eta)-th best must not be better than it; the best one of fewer than eta.
bool optuna_goes_on(std::vector<double> values, double own, double eta) {
  if (!std::isfinite(own)) return false;
  std::ranges::sort(values);
  const auto index = static_cast<std::size_t>(static_cast<double>(values.size()) / eta);
  return own <= values[index == 0 ? 0 : index - 1];
}

}  // namespace

TEST_CASE("asha: rungs") {
  CHECK(rungs_between(1, 81, 3) == std::vector<double>{1, 3, 9, 27, 81});
  CHECK(rungs_between(1, 100, 4) == std::vector<double>{1, 4, 16, 64, 100});
  CHECK(rungs_between(2, 3, 3) == std::vector<double>{2, 3});
}

TEST_CASE("asha that stops: every decision is the one of Optuna's rule") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Draws draws(seed, 0, 0, Purpose::kPoint);
    const double eta = 2 + static_cast<double>(draws.below(3));
    Asha asha(rungs_between(1, 200, eta), eta, AshaMode::kStop);
    const int last = static_cast<int>(asha.rungs().size()) - 1;
    std::map<int, std::vector<double>> seen;
    for (std::int64_t trial = 0; trial < 60; ++trial)
      for (int rung = 0; rung <= last; ++rung) {
        // some are equal, some are no numbers
        const double loss = draws.below(10) == 0 ? kWorstLoss : std::floor(draws.uniform() * 20);
        seen[rung].push_back(loss);
        asha.enter(trial, rung, loss);
        const auto decision = asha.decide(trial, rung);
        if (rung == last) {
          CHECK(decision.verdict == TrialVerdict::kFinish);
          break;
        }
        const bool goes_on = optuna_goes_on(seen[rung], loss, eta);
        CHECK(decision.verdict == (goes_on ? TrialVerdict::kGoOn : TrialVerdict::kPrune));
        if (!goes_on) break;
      }
  }
}

TEST_CASE("asha that promotes: only the best 1/eta, the highest rung first, each once") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Draws draws(seed, 0, 0, Purpose::kPoint);
    Asha asha(rungs_between(1, 81, 3), 3, AshaMode::kPromote);
    std::map<int, std::map<std::int64_t, double>> at;  // rung, trial: loss
    std::set<std::pair<int, std::int64_t>> promoted;
    std::int64_t trials = 0;
    const auto reach = [&](std::int64_t trial, int rung) {
      const double loss = draws.below(12) == 0 ? kWorstLoss : draws.uniform();
      at[rung][trial] = loss;
      asha.enter(trial, rung, loss);
      CHECK(asha.decide(trial, rung).verdict == (rung == 4 ? TrialVerdict::kFinish : TrialVerdict::kPause));
    };
    for (int step = 0; step < 300; ++step) {
      const auto promotion = asha.promotable();
      // what the paper's get_job() would say
      std::optional<std::pair<int, std::int64_t>> wanted;
      for (int rung = 3; rung >= 0 && !wanted; --rung) {
        std::vector<std::pair<double, std::int64_t>> sorted;
        for (const auto& [trial, loss] : at[rung]) sorted.emplace_back(loss, trial);
        std::ranges::sort(sorted);
        for (std::size_t i = 0; i < sorted.size() / 3 && !wanted; ++i)
          if (std::isfinite(sorted[i].first) && !promoted.contains({rung, sorted[i].second}))
            wanted = {rung, sorted[i].second};
      }
      REQUIRE(promotion.has_value() == wanted.has_value());
      if (!promotion) {
        reach(trials++, 0);
        continue;
      }
      CHECK(std::pair(promotion->rung, promotion->trial) == *wanted);
      CHECK(promoted.insert(*wanted).second);
      asha.promote(promotion->trial, promotion->rung);
      reach(promotion->trial, promotion->rung + 1);
    }
    CHECK(trials >= 150);
    CHECK(asha.count(4) > 0);
    CHECK(asha.has_finisher() ==
          std::ranges::any_of(at[4], [](const auto& entry) { return std::isfinite(entry.second); }));
  }
}

TEST_CASE("asha: a decision says its rank, and what failed is the worst") {
  Schedule schedule(halving(27, 3, AshaMode::kStop), 0);
  for (std::int64_t trial = 0; trial < 5; ++trial)
    schedule.enter(trial, 0, static_cast<double>(trial), false);
  schedule.fail(5, -1);
  CHECK(schedule.decide(4, 0, 1).reason == "rank 5 of 6 at rung 0 (1), 2 go on");
  CHECK(schedule.decide(1, 0, 1).verdict == TrialVerdict::kGoOn);
  schedule.withdraw(0);
  CHECK(schedule.decide(4, 0, 1).reason == "rank 4 of 5 at rung 0 (1), 1 goes on");
}

TEST_CASE("asha: nothing that is no number is promoted, and a paused trial that ended is not") {
  Asha asha(rungs_between(1, 9, 3), 3, AshaMode::kPromote);
  for (std::int64_t trial = 0; trial < 3; ++trial) asha.enter(trial, 0, kWorstLoss);
  CHECK_FALSE(asha.promotable().has_value());
  asha.enter(3, 0, 5);
  REQUIRE(asha.promotable().has_value());
  CHECK(asha.promotable()->reason == "rank 1 of 4 at rung 0 (1), 1 goes on");
  asha.end(3);
  CHECK_FALSE(asha.promotable().has_value());
}

TEST_CASE("asha: a trial that failed on its way to the last rung has not come there") {
  Asha asha(rungs_between(1, 3, 3), 3, AshaMode::kPromote);
  asha.enter(0, 0, 1);
  asha.enter(1, 0, 2);
  asha.promote(0, 0);
  asha.enter(0, 1, kWorstLoss);
  CHECK_FALSE(asha.has_finisher());
  // So that the next best is trained to its end.
  const auto next_best = Hyperband(asha).best_waiting();
  REQUIRE(next_best.has_value());
  CHECK(next_best->trial == 1);
  asha.enter(1, 1, 2);
  CHECK(asha.has_finisher());
}

TEST_CASE("schedule: the resource of a rung, and rungs that a trial does not have") {
  const Schedule asha(halving(27, 3, AshaMode::kStop), 0);
  CHECK(asha.resource_of(0, 1) == 3);
  CHECK(asha.resource_of(0, 3) == 27);
  CHECK_FALSE(asha.resource_of(0, 4).has_value());
  CHECK_FALSE(asha.resource_of(0, -1).has_value());
  CHECK_FALSE(Schedule({}, 0).resource_of(0, 0).has_value());
}

TEST_CASE("schedule: a rung is crossed by the first report at or above it, one at a time") {
  const Schedule schedule(halving(27, 3, AshaMode::kStop), 0);
  CHECK_FALSE(schedule.rung_at(0, -1, 0.5).has_value());
  CHECK(schedule.rung_at(0, -1, 5) == 0);
  CHECK(schedule.rung_at(0, 0, 5) == 1);
  CHECK_FALSE(schedule.rung_at(0, 1, 5).has_value());
  CHECK_FALSE(schedule.rung_at(0, 1, 3).has_value());  // work that is done again
  CHECK_FALSE(schedule.rung_at(0, 3, 100).has_value());
  CHECK_FALSE(Schedule(ScheduleConfig(), 0).rung_at(0, -1, 100).has_value());
}

TEST_CASE("hyperband: Determined's brackets, rungs and shares") {
  auto config = halving(81, 3, AshaMode::kPromote, ScheduleKind::kHyperband);
  CHECK(bracket_lengths(config) == std::vector<int>{5, 4, 3});
  config.brackets = proto::BracketMode::kAggressive;
  CHECK(bracket_lengths(config) == std::vector<int>{5});
  config.brackets = proto::BracketMode::kConservative;
  CHECK(bracket_lengths(config) == std::vector<int>{5, 4, 3, 2, 1});
  config.max_rungs = 3;
  CHECK(bracket_lengths(config) == std::vector<int>{3, 2, 1});
  CHECK(bracket_rungs(config, 3) == std::vector<double>{9, 27, 81});
  config.max_rungs = 5, config.min = 9;
  CHECK(bracket_lengths(config) == std::vector<int>{3, 2, 1});

  config = halving(81, 3, AshaMode::kPromote, ScheduleKind::kHyperband);
  const Hyperband hyperband(config);
  // weights eta^(r-1)/r: 81/5, 27/4, 9/3
  const double sum = 81.0 / 5 + 27.0 / 4 + 3;
  std::array<int, 3> counts{};
  for (int trial = 0; trial < 256; ++trial) ++counts[hyperband.bracket_of(trial)];
  CHECK(std::abs(counts[0] - 256 * 81.0 / 5 / sum) <= 1);
  CHECK(std::abs(counts[1] - 256 * 27.0 / 4 / sum) <= 1);
  CHECK(std::abs(counts[2] - 256 * 3.0 / sum) <= 1);
}

TEST_CASE("median: every decision is the one of Optuna's MedianPruner") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Draws draws(seed, 0, 0, Purpose::kPoint);
    ScheduleConfig config;
    config.kind = ScheduleKind::kMedian, config.startup_trials = 4, config.grace = 3;
    Schedule schedule(config, 0);
    std::vector<std::vector<double>> completed;
    for (std::int64_t trial = 0; trial < 40; ++trial) {
      std::vector<double> own;
      bool pruned = false;
      for (int step = 3; step < 12 && !pruned; ++step) {
        const auto rung = schedule.rung_at(trial, static_cast<int>(own.size()) - 1, step);
        REQUIRE(rung == step - 3);
        own.push_back(draws.uniform());
        schedule.enter(trial, *rung, own.back(), false);
        std::vector<double> there;
        for (const auto& other : completed) there.push_back(other[static_cast<std::size_t>(*rung)]);
        std::ranges::sort(there);
        const auto n = there.size();
        bool prune = false;
        if (n >= 4) {
          const double median = n % 2 == 1 ? there[n / 2] : (there[n / 2 - 1] + there[n / 2]) / 2;
          prune = *std::ranges::min_element(own) > median;
        }
        CHECK(schedule.decide(trial, *rung, 1).verdict ==
              (prune ? TrialVerdict::kPrune : TrialVerdict::kGoOn));
        pruned = prune;
      }
      if (!pruned) completed.push_back(own);
      pruned ? schedule.end(trial) : schedule.complete(trial);
    }
  }
}

TEST_CASE("pbt: the lower quantile goes on from a donor of the upper one that has a checkpoint") {
  ScheduleConfig config;
  config.kind = ScheduleKind::kPbt, config.interval = 2, config.burn_in = 3;
  Schedule schedule(config, 7);
  CHECK_FALSE(schedule.rung_at(0, -1, 2).has_value());
  CHECK(schedule.rung_at(0, -1, 3) == 1);
  CHECK_FALSE(schedule.rung_at(0, 1, 3.9).has_value());
  CHECK(schedule.rung_at(0, 1, 4) == 2);

  for (std::int64_t member = 0; member < 8; ++member)
    schedule.enter(member, 1, static_cast<double>(member), member != 0);
  // eight members, a quarter: 6 and 7 below, 0 and 1 above, and 0 has no checkpoint
  for (const std::int64_t member : {6, 7}) {
    const auto decision = schedule.decide(member, 1, 1);
    CHECK(decision.verdict == TrialVerdict::kClone);
    CHECK(decision.donor == 1);
  }
  for (const std::int64_t member : {0, 1, 2, 5})
    CHECK(schedule.decide(member, 1, 1).verdict == TrialVerdict::kGoOn);
  schedule.end(1);
  CHECK(schedule.decide(7, 1, 1).donor == 2);  // seven are left: two below, and 2 is above now
  // One that goes on from another one's checkpoint is no donor before it has come to a rung.
  schedule.cloned(2);
  CHECK(schedule.decide(7, 1, 1).reason == "no member of the upper quantile has a checkpoint");
  schedule.enter(2, 2, 2, true);
  CHECK(schedule.decide(7, 1, 1).donor == 2);

  config.max = 4;
  Schedule ends(config, 7);
  for (std::int64_t member = 0; member < 4; ++member)
    ends.enter(member, 1, static_cast<double>(member), true);
  CHECK(ends.decide(3, 1, 1).verdict == TrialVerdict::kClone);
  CHECK(ends.decide(3, 2, 2).verdict == TrialVerdict::kGoOn);
}

TEST_CASE("pbt: changed parameters stay in their domains, by Ray's rules") {
  const auto space = space_of(Json{{"batch", {{"ordinal", {16, 32, 64}}}},
                                   {"depth", {{"int", {2, 10}}}},
                                   {"lr", {{"float", {1e-4, 1e-1}}, {"log", true}}},
                                   {"momentum", {{"float", {0.5, 0.99}}, {"when", {{"optimizer", "sgd"}}}}},
                                   {"optimizer", {{"choice", {"adam", "sgd"}}}}});
  ScheduleConfig config;
  config.resample_probability = 0;
  const auto donor =
      space.point_of(Json{{"batch", 16}, {"depth", 9}, {"lr", 0.09}, {"optimizer", "adam"}}).value();
  std::set<double> batches, depths, rates;
  for (std::int64_t trial = 0; trial < 60; ++trial) {
    const auto point = perturbed(space, config, 1, trial, 3, donor);
    CHECK(space.point_of(space.to_json(point)).has_value());
    batches.insert(point[0]), depths.insert(point[1]), rates.insert(point[2]);
  }
  CHECK(batches == std::set<double>{0, 1});           // a neighbour, or the end
  CHECK(depths == std::set<double>{7, 10});           // 7.2 rounded, 10.8 clipped
  CHECK(rates == std::set<double>{0.09 * 0.8, 0.1});  // clipped
  config.resample_probability = 1;
  rates.clear();
  for (std::int64_t trial = 0; trial < 60; ++trial)
    rates.insert(perturbed(space, config, 1, trial, 3, donor)[2]);
  CHECK(rates.size() == 60);
}

}  // namespace schedule_test
