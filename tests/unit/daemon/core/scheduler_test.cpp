#include "daemon/core/scheduler.h"

#include "tests/support/catch.h"
#include "tests/support/jobs.h"

namespace core_scheduler_test {

using namespace rtrain;
using namespace rtrain::core;
using namespace rtrain::test;

namespace {

WaitingJob job(std::int64_t id, int workers, proto::Resources each = {{"CPU", 1}}) {
  WaitingJob waiting{JobId(id), {}};
  waiting.scaling.num_workers = workers;
  waiting.scaling.resources_per_worker = std::move(each);
  return waiting;
}

}  // namespace

TEST_CASE("scheduler: one decision a job, in order, and what starts is held") {
  const auto decisions = plan({{node("a", 4)}, {job(1, 2), job(2, 2)}});
  REQUIRE(decisions.size() == 2);
  for (const auto& decision : decisions) {
    CHECK(decision.placement.placed());
    CHECK(decision.queue_position == 0);
    CHECK(decision.reason.empty());
  }
  CHECK(decisions[0].id == JobId(1));
  CHECK(decisions[1].id == JobId(2));
}

TEST_CASE("scheduler: nobody overtakes the first that waits, though it would fit") {
  const auto decisions = plan({{node("a", 4)}, {job(1, 3), job(2, 2), job(3, 1)}});
  CHECK(decisions[0].placement.placed());
  CHECK_FALSE(decisions[1].placement.placed());
  CHECK(decisions[1].queue_position == 1);
  CHECK(decisions[1].reason.find("node a has 1 of 4 CPU free") != std::string::npos);
  CHECK_FALSE(decisions[2].placement.placed());
  CHECK(decisions[2].queue_position == 2);
  CHECK(decisions[2].reason == "waits behind job 2");
}

TEST_CASE("scheduler: a job that no node could ever hold waits for a node and blocks nobody") {
  const auto decisions = plan({{node("a", 4)}, {job(1, 5), job(2, 4), job(3, 6), job(4, 1)}});
  CHECK_FALSE(decisions[0].placement.feasible);
  CHECK(decisions[0].reason.find("more than the nodes in service have") != std::string::npos);
  CHECK(decisions[1].placement.placed());
  CHECK_FALSE(decisions[2].placement.placed());
  // The first that waits for room, not for a node, holds back those behind it.
  CHECK(decisions[3].placement.feasible);
  CHECK(decisions[3].reason.find("CPU") != std::string::npos);
  CHECK(decisions[0].queue_position == 1);
  CHECK(decisions[2].queue_position == 2);
  CHECK(decisions[3].queue_position == 3);
}

TEST_CASE("scheduler: without a node all jobs wait and say why") {
  for (const auto& decision : plan({{}, {job(1, 1), job(2, 1)}})) {
    CHECK_FALSE(decision.placement.placed());
    CHECK(decision.reason.find("no node is connected") != std::string::npos);
  }
}

TEST_CASE("scheduler: an empty queue decides nothing") { CHECK(plan({{node("a", 4)}, {}}).empty()); }

TEST_CASE("scheduler: the newest job gets the same answer from the one that holds it back alone") {
  // The head leans on this: a submit looks at two jobs, not at the ten thousand that wait.
  auto busy = node("a", 2);
  busy.used = {{"CPU", 1}};
  const auto blocker = job(5, 2);
  for (const auto& newest : {job(9, 1), job(9, 2), job(9, 1, {{"CPU", 64}})}) {
    const auto whole = plan({{busy}, {job(1, 1, {{"CPU", 64}}), blocker, job(6, 1), newest}}).back();
    const auto pair = plan({{busy}, {blocker, newest}}).back();
    CHECK(pair.reason == whole.reason);
    CHECK(pair.placement.feasible == whole.placement.feasible);
    CHECK_FALSE(pair.placement.placed());
  }
}

}  // namespace core_scheduler_test
