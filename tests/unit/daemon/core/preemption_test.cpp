#include "tests/unit/daemon/core/planner_scene.h"

#include "tests/support/catch.h"

#include <algorithm>

namespace preemption_test {

using namespace rtrain;
using namespace rtrain::core;
using namespace rtrain::test;

TEST_CASE("planner: the fewest, lowest and youngest jobs make room, and only if they do") {
  struct Row {
    const char* name;
    int workers, priority;
    Ids victims;
  };
  // Running: 1 (2 CPUs, priority 0, old), 2 (2, 0, young), 3 (4, 5), 4 (4, 5, not preemptible).
  const std::vector<Row> rows{
      {"the youngest of the lowest", 2, 9, {2}},
      {"both of the lowest", 4, 9, {1, 2}},
      {"a larger one instead of small ones", 8, 9, {1, 2, 3}},
      {"nothing when it is not enough", 10, 9, {}},
      {"never one of equal priority", 4, 5, {1, 2}},
      {"nor a higher one", 2, 0, {}},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    Scene scene({node("a", 12)});
    scene.wait(with_priority(1, 2, 0));
    scene.pass();
    scene.now += 1000;
    scene.wait(with_priority(2, 2, 0));
    scene.wait(with_priority(3, 4, 5));
    scene.wait(job(4, 4, [](WaitingJob& j) { j.scheduling.priority = 5, j.scheduling.preemptible = false; }));
    scene.pass();
    scene.wait(with_priority(9, row.workers, row.priority));
    CHECK(scene.pass().empty());
    Ids victims;
    for (const auto& order : scene.last.yields) {
      victims.push_back(order.id.value());
      CHECK(order.cause == proto::YieldCause::kPreempted);
      CHECK(order.reason ==
            "job 9 of higher priority (" + std::to_string(row.priority) + ") needs its place");
      CHECK(order.grace_s == 60);
    }
    std::ranges::sort(victims);
    CHECK(victims == row.victims);
    // Asked once: what yields is counted on.
    CHECK(scene.pass().empty());
    CHECK(scene.last.yields.empty());
    if (row.victims.empty()) continue;
    CHECK(scene.explain(9).expected_start_ms == scene.now + 60'000);
    for (const auto victim : row.victims) {
      scene.end(victim);
      scene.wait(scene.jobs.at(JobId(victim)));
    }
    CHECK(scene.pass() == Ids{9});
    CHECK(scene.last.yields.empty());  // nobody is preempted back
  }
}

TEST_CASE("planner: room that is being made is nobody else's, however soon he would be through") {
  Scene scene({node("a", 3), node("b", 1)});
  const auto brief =
      job(1, 3, [](WaitingJob& j) { j.scheduling.time_limit_s = 50, j.scheduling.preempt_grace_s = 5; });
  scene.wait(job(2, 1));  // its grace is 60 s
  CHECK(scene.pass() == Ids{2});
  CHECK(scene.where(2) == "b");
  scene.now += 1000;
  scene.wait(brief);
  CHECK(scene.pass() == Ids{1});
  scene.wait(with_priority(9, 4, 2));
  CHECK(scene.pass().empty());
  CHECK(scene.last.yields.size() == 2);
  scene.end(1);  // it yields at once, and waits again
  scene.wait(brief);
  CHECK(scene.pass().empty());
  scene.end(2);
  CHECK(scene.pass() == Ids{9});
}

}  // namespace preemption_test
