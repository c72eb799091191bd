// A head that is killed and starts again from its store.
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace recovery_test {

using namespace rtrain;
using core::JobPhase;
using rtrain::test::Cluster;

namespace {

/// A head with one running job of two ranks on node a, and what the next head finds of it.
struct Before {
  Cluster head;
  JobId id;
  Before() {
    auto a = head.connect("a");
    id = head.submit(2);
    head.reserve(*a);
    for (int rank = 0; rank < 2; ++rank) head.start(*a, id, Attempt(1), rank);
    REQUIRE(head.phase(id) == JobPhase::kRunning);
  }
};

}  // namespace

TEST_CASE("recovery: ranks that still run go on, and end as if nothing had been") {
  Before before;
  Cluster head(before.head.store, before.head.store->recover());
  CHECK(head.phase(before.id) == JobPhase::kRunning);
  auto a = head.connect("a", 2, {{before.id, Attempt(1), 0}, {before.id, Attempt(1), 1}});
  CHECK(a->heard.empty());
  const auto next = head.submit(1);
  CHECK(next == JobId(2));
  CHECK(head.phase(next) == JobPhase::kQueued);  // both CPUs are held
  for (int rank = 0; rank < 2; ++rank) head.end(*a, before.id, Attempt(1), rank);
  CHECK(head.phase(before.id) == JobPhase::kSucceeded);
  CHECK(head.phase(next) == JobPhase::kStarting);
}

TEST_CASE("recovery: a rank that its agent has no more is lost") {
  Before before;
  Cluster head(before.head.store, before.head.store->recover());
  auto a = head.connect("a", 2, {{before.id, Attempt(1), 0}});
  CHECK(head.phase(before.id) == JobPhase::kStopping);
  CHECK(head.state(before.id).error->kind == "lost");
  CHECK(a->all<proto::StopAttempt>().size() >= 1);
}

TEST_CASE("recovery: a node that does not come back has a full lease before its ranks are given up") {
  Before before;
  Cluster head(before.head.store, before.head.store->recover());
  const auto lease = proto::HeadConfig{}.lease_s;
  head.pass(lease);
  head.dispatcher.tick();
  CHECK(head.phase(before.id) == JobPhase::kRunning);
  head.pass(5);
  head.dispatcher.tick();
  CHECK(head.phase(before.id) == JobPhase::kFailed);
}

TEST_CASE("recovery: a job that waited waits in its place") {
  Cluster old;
  const auto first = old.submit(1), second = old.submit(1);
  Cluster head(old.store, old.store->recover());
  CHECK(head.dispatcher.jobs().queue() == std::vector<JobId>{first, second});
  auto a = head.connect("a", 1);
  CHECK(head.phase(first) == JobPhase::kStarting);
}

TEST_CASE("durability: an agent hears of nothing that is not stored") {
  Cluster head(std::make_shared<store::MemoryStore>(false), {});
  auto a = head.connect("a");
  const auto id = head.submit(1);
  CHECK(head.phase(id) == JobPhase::kStarting);
  CHECK(a->heard.empty());
  head.store->commit();
  REQUIRE(a->all<proto::ReservePort>().size() == 1);
  head.reserve(*a);
  REQUIRE(a->all<proto::Launch>().size() == 1);  // what led to it is stored already
  head.end(*a, id, Attempt(1), 0);
  CHECK(head.phase(id) == JobPhase::kSucceeded);
}

}  // namespace recovery_test
