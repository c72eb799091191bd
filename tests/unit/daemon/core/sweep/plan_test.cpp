#include "daemon/core/sweep/plan.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/core/sweep/golden.h"

#include <cmath>

namespace plan_test {

using namespace rtrain;
using namespace rtrain::core;
using proto::Json;

namespace {

const Json kOneNumber{{"lr", {{"float", {1e-4, 1.0}}, {"log", true}}}};

SweepPlan plan_of(Json more, PlanAssumptions assumptions) {
  auto plan = plan_sweep(sweep_of(kOneNumber, std::move(more)), assumptions);
  REQUIRE(plan.has_value());
  return *plan;
}

}  // namespace

TEST_CASE("plan: without a schedule it is arithmetic") {
  const auto plan = plan_of({{"limits", {{"trials", 10}}}},
                            {.places = 4, .resource_s = 60, .start_s = 30, .trial_resource = 5, .gpus = 2});
  CHECK(plan.phase == SweepPhase::kSucceeded);
  CHECK(plan.trials == 10);
  CHECK(plan.completed == 10);
  CHECK(plan.running_most == 4);
  // three rounds of 5 minutes and half a minute
  CHECK(plan.hours == Approx(3 * 5.5 / 60));
  CHECK(plan.gpu_hours == Approx(10 * 5.5 / 60 * 2));
  CHECK(plan.resource == Approx(50));
}

TEST_CASE("plan: asha gives every trial the first rung, and ever fewer of them the next") {
  for (const auto& mode : {"promote", "stop"}) {
    INFO(mode);
    const auto plan =
        plan_of({{"limits", {{"trials", 81}}}, {"schedule", {{"asha", {{"max", 27}, {"mode", mode}}}}}},
                {.places = 8, .resource_s = 60, .start_s = 5, .trial_resource = 0, .gpus = 1});
    CHECK(plan.phase == SweepPhase::kSucceeded);
    REQUIRE(plan.at_rung.size() == 4);
    CHECK(plan.at_rung[0] == 81);
    for (std::size_t rung = 1; rung < 4; ++rung) {
      CHECK(plan.at_rung[rung] < plan.at_rung[rung - 1]);
      CHECK(plan.at_rung[rung] >= plan.at_rung[rung - 1] / 3);
    }
    CHECK(plan.completed == plan.at_rung[3]);
    CHECK(plan.completed + plan.pruned == 81);
    CHECK(plan.resource < 0.4 * plan.resource_whole);
    CHECK(plan.running_most == 8);
  }
}

TEST_CASE("plan: it is the same every time, and every search and schedule has one") {
  for (const char* search : {"random", "sobol", "tpe", "cmaes"})
    for (const Json& schedule : {Json("none"), Json{{"hyperband", {{"max", 9}}}},
                                 Json{{"median", Json::object()}}, Json{{"pbt", {{"interval", 2}}}}}) {
      if (std::string(search) == "cmaes" && (schedule.contains("pbt") || schedule.contains("hyperband")))
        continue;
      INFO(search << " " << proto::dump_json(schedule));
      const Json more{
          {"search", search}, {"schedule", schedule}, {"limits", {{"trials", 24}, {"running", 6}}}};
      const PlanAssumptions assumptions{
          .places = 6, .resource_s = 10, .start_s = 1, .trial_resource = 9, .gpus = 1};
      const auto plan = plan_of(more, assumptions), again = plan_of(more, assumptions);
      CHECK(plan.phase == SweepPhase::kSucceeded);
      CHECK(plan.trials == 24);
      CHECK(plan.hours == again.hours);
      CHECK(plan.resource == again.resource);
      CHECK((plan.clones > 0) == schedule.contains("pbt"));
    }
}

TEST_CASE("plan: limits end it, and what cannot be planned says why") {
  const auto plan =
      plan_of({{"limits", {{"trials", 1000}, {"gpu_hours", 3}}}},
              {.places = 4, .resource_s = 3600, .start_s = 0, .trial_resource = 0.5, .gpus = 1});
  CHECK(plan.reason == "limits.gpu_hours of 3 is used up");
  CHECK(plan.trials < 20);
  const auto refused = plan_sweep(sweep_of(kOneNumber), {});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message() == "nothing says how long a trial is: the schedule has no last rung");
}

TEST_CASE("plan: trials have the curves of the past, each as often as the others") {
  PlanAssumptions assumptions{.places = 1, .resource_s = 1, .start_s = 0, .trial_resource = 4};
  LearningCurve good, bad;
  for (int epoch = 1; epoch <= 4; ++epoch) good.add(epoch, 1.0 / epoch);
  bad.add(1, 5);
  bad.add(1, 0);  // work that was done again
  CHECK(good.at(0.5) == 1);
  CHECK(good.at(2.5) == 0.5);
  CHECK(bad.at(4) == 5);
  assumptions.curves = {good, bad};
  const auto plan = plan_of(
      {{"limits", {{"trials", 10}}}, {"schedule", {{"asha", {{"max", 4}, {"eta", 2}, {"mode", "stop"}}}}}},
      assumptions);
  CHECK(plan.trials == 10);
  CHECK(plan.at_rung.at(0) == 10);
  // The five that learn go on; of the others the first may, since nobody was better yet.
  CHECK(plan.completed >= 5);
  CHECK(plan.pruned >= 4);
  assumptions.curves.emplace_back();
  CHECK(plan_sweep(sweep_of(kOneNumber, {{"limits", {{"trials", 2}}}}), assumptions).error().code() ==
        Errc::kInvalidArgument);
}

}  // namespace plan_test
