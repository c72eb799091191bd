#include "tests/unit/daemon/core/planner_scene.h"

#include "tests/support/catch.h"

namespace core_elastic_test {

using namespace rtrain;
using namespace rtrain::core;
using namespace rtrain::test;

TEST_CASE("planner: an elastic job starts with what there is, grows and shrinks") {
  const auto elastic = [](WaitingJob& j) { j.scaling.min_workers = 2; };
  Scene scene({node("a", 4)});
  scene.wait(job(1, 2));
  scene.wait(job(2, 6, elastic));
  CHECK(scene.pass() == Ids{1, 2});
  CHECK(scene.where(2) == "a a");
  scene.end(1);
  CHECK(scene.pass().empty());
  CHECK(scene.last.yields.empty());
  CHECK(scene.last.look_again_ms == kNow + 60'000);
  scene.now += 60'000;
  CHECK(scene.pass().empty());
  REQUIRE(scene.last.yields.size() == 1);
  CHECK(scene.last.yields[0].cause == proto::YieldCause::kResize);
  CHECK(scene.last.yields[0].reason == "4 workers would fit, 2 run");
  scene.wait(job(3, 2));
  CHECK(scene.pass().empty());  // the room is kept for it
  scene.end(2);
  scene.wait(scene.jobs.at(JobId(2)));
  CHECK(scene.pass() == Ids{2});
  CHECK(scene.where(2) == "a a a a");
  scene.planner.leave(JobId(3));

  SECTION("it shrinks for a job of higher priority when its minimum still fits") {
    scene.now += 60'000;
    scene.wait(with_priority(4, 2, 1));
    CHECK(scene.pass().empty());
    REQUIRE(scene.last.yields.size() == 1);
    CHECK(scene.last.yields[0].cause == proto::YieldCause::kResize);
    scene.end(2);
    scene.wait(scene.jobs.at(JobId(2)));
    CHECK(scene.pass() == Ids{4, 2});
    CHECK(scene.where(2) == "a a");
  }
  SECTION("it is preempted when its minimum does not fit") {
    scene.now += 60'000;
    scene.wait(with_priority(4, 3, 1));
    CHECK(scene.pass().empty());
    REQUIRE(scene.last.yields.size() == 1);
    CHECK(scene.last.yields[0].cause == proto::YieldCause::kPreempted);
  }
}

}  // namespace core_elastic_test
