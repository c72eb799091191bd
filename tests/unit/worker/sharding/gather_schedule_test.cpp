#include "worker/sharding/gather_schedule.h"
#include "tests/support/catch.h"

#include <string>

namespace gather_schedule_test {

using rtrain::sharding::GatherSchedule;
using rtrain::sharding::Prefetch;
using rtrain::sharding::ScheduleOptions;
using Pass = GatherSchedule::Pass;

namespace {

/// Does what the schedule says, and writes it down: "+2" gathered, "-2" dropped, ">2" gathered ahead.
class Engine {
 public:
  explicit Engine(ScheduleOptions options, std::vector<std::int64_t> numels = {1, 1, 1, 1})
      : schedule(std::move(numels), options) {}
  std::string use(std::vector<int> need) {
    const auto actions = schedule.use(need);
    std::string text;
    for (const auto unit : actions.drop) text += "-" + std::to_string(unit);
    for (const auto unit : actions.gather) text += "+" + std::to_string(unit);
    return text + ahead(actions.ahead);
  }
  std::string ahead(int unit) {
    if (unit == GatherSchedule::kNothing) return "";
    schedule.gathers_ahead(unit);
    return ">" + std::to_string(unit);
  }
  GatherSchedule schedule;
};

/// Forward 0 1 2, backward 2 1 0.
std::string step(Engine& engine) {
  std::string text;
  engine.schedule.begin(Pass::kTraining);
  for (const int unit : {0, 1, 2}) text += engine.use({unit});
  text += " ";
  engine.schedule.begin_backward();
  for (const int unit : {2, 1, 0}) {
    text += engine.use({unit});
    engine.schedule.dropped(unit);
    text += engine.ahead(engine.schedule.reduced(unit));
  }
  engine.schedule.end();
  return text;
}

}  // namespace

TEST_CASE("sharding: without room beside the unit in use, the one before it is dropped", "[sharding]") {
  Engine engine({.live_max = 0, .backward = Prefetch::kNone});
  CHECK(step(engine) == "+0-0+1-1+2 +1+0");
  CHECK(step(engine) == "+0-0+1-1+2 +1+0");
}

TEST_CASE("sharding: with room, the one that was used longest ago is dropped", "[sharding]") {
  Engine engine({.live_max = 2, .backward = Prefetch::kNone}, {1, 2, 1, 1});
  engine.schedule.begin(Pass::kTraining);
  CHECK(engine.use({0}) == "+0");
  CHECK(engine.use({1}) == "+1");
  CHECK(engine.use({0}).empty());
  CHECK(engine.use({2}) == "-1+2");  // 1 and 0 beside it would be 3
  CHECK(engine.use({3}) == "+3");
  CHECK(engine.use({1}) == "-0+1");
  CHECK(engine.use({1, 3, 0}) == "+0");  // what an operator needs is never dropped
}

TEST_CASE("sharding: the order of a step predicts the next one", "[sharding]") {
  Engine backward({.live_max = 0, .backward = Prefetch::kAtUse});
  CHECK(step(backward) == "+0-0+1-1+2 +1+0");
  CHECK(step(backward) == "+0-0+1-1+2 >1>0");
  Engine both({.live_max = 0, .forward = Prefetch::kAtUse, .backward = Prefetch::kAtUse});
  (void)step(both);
  CHECK(step(both) == "+0>1-0>2-1>1 >0");
  Engine after({.live_max = 0, .backward = Prefetch::kAfterReduce});
  (void)step(after);
  CHECK(step(after) == "+0-0+1-1+2 >1>0");
}

TEST_CASE("sharding: a step of another order is not predicted any further", "[sharding]") {
  Engine engine({.live_max = 0, .forward = Prefetch::kAtUse, .backward = Prefetch::kAtUse});
  (void)step(engine);
  engine.schedule.begin(Pass::kTraining);
  CHECK(engine.use({0}) == "+0>1");
  CHECK(engine.use({2}) == "-0+2");
  CHECK(engine.use({1}) == "-2");  // it was gathered ahead
  CHECK(engine.use({3}) == "-1+3");
  engine.schedule.end();
  engine.schedule.begin(Pass::kTraining);
  CHECK(engine.use({0}) == "-3+0>2");  // the new order
}

TEST_CASE("sharding: an evaluation between two steps does not disturb the prediction", "[sharding]") {
  Engine engine({.live_max = 0, .backward = Prefetch::kAtUse});
  (void)step(engine);
  engine.schedule.begin(Pass::kEvaluation);
  CHECK(engine.use({2}) == "+2");
  CHECK(engine.use({0}) == "-2+0");
  engine.schedule.dropped(0);
  CHECK(step(engine) == "+0-0+1-1+2 >1>0");
}

}  // namespace gather_schedule_test
