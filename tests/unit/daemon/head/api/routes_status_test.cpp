// GET /v1/status counts all jobs, whoever keeps them: memory, the store, a head before this one.
#include "daemon/head/api/routes.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace routes_status_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

proto::Json status(test::Cluster& cluster) {
  const HttpRequest request{http::verb::get, "/v1/status", 11};
  return *proto::parse_json(std::get<HttpResponse>(answer(cluster.dispatcher, request)).body());
}

}  // namespace

TEST_CASE("status: every job is counted in its state, those that only the store knows among them") {
  test::Cluster cluster;
  CHECK(status(cluster)["jobs_by_state"] == proto::Json::object());
  auto a = cluster.connect("a", 1);
  const auto running = cluster.submit(1);
  cluster.reserve(*a);
  cluster.start(*a, running, Attempt(1), 0);
  for (int i = 0; i < 1500; ++i)
    REQUIRE(cluster.dispatcher.commands().cancel(cluster.submit(1), "a test").has_value());
  for (int i = 0; i < 30; ++i) (void)cluster.submit(1);
  REQUIRE(cluster.dispatcher.jobs().all().size() < 1500);
  CHECK(status(cluster)["jobs_by_state"] ==
        proto::Json({{"RUNNING", 1}, {"CANCELLED", 1500}, {"QUEUED", 30}}));
  cluster.end(*a, running, Attempt(1), 0);
  CHECK(status(cluster)["jobs_by_state"] ==
        proto::Json({{"STARTING", 1}, {"SUCCEEDED", 1}, {"CANCELLED", 1500}, {"QUEUED", 29}}));

  SECTION("after a restart") {
    test::Cluster next(cluster.store, cluster.store->recover());
    CHECK(status(next)["jobs_by_state"] ==
          proto::Json({{"STARTING", 1}, {"SUCCEEDED", 1}, {"CANCELLED", 1500}, {"QUEUED", 29}}));
  }
  SECTION("those that are pruned are gone") {
    cluster.dispatcher.retention().prune({{}, 100, {}, false}, [](const store::Pruned&) {});
    const auto left = status(cluster)["jobs_by_state"];
    CHECK(left.value("CANCELLED", 0) + left.value("SUCCEEDED", 0) == 100);
    CHECK(left["QUEUED"] == 29);
  }
}

TEST_CASE("status: nodes and resources are those of nodes that are alive, and a full disk is said") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 3);
  auto b = cluster.connect("b", 2);
  (void)cluster.submit(2);
  auto doc = status(cluster);
  CHECK(doc["nodes"] == proto::Json({{"alive", 2}, {"total", 2}}));
  CHECK(doc["resources"]["CPU"] == proto::Json({{"used", 2.0}, {"total", 5.0}}));
  CHECK(doc["resources"]["GPU"] == proto::Json({{"used", 0.0}, {"total", 0.0}}));
  CHECK(doc["status"] == "ok");
  cluster.dispatcher.agent_left(*b);
  cluster.store->set_health({false, "no space left"});
  doc = status(cluster);
  CHECK(doc["nodes"] == proto::Json({{"alive", 1}, {"total", 2}}));
  CHECK(doc["resources"]["CPU"]["total"] == 3.0);
  CHECK(doc["status"] == "read_only");
  CHECK(doc["reason"] == "no space left");
}

TEST_CASE("status: at most twenty active jobs are shown, running ones first") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 3);
  std::vector<JobId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(cluster.submit(1));
  cluster.reserve(*a);
  const auto asked = a->all<proto::ReservePort>();
  REQUIRE(asked.size() == 3);
  cluster.dispatcher.agent_says(*a, proto::PortReserved{ids[0], Attempt(1), 4000, ""});
  cluster.start(*a, ids[0], Attempt(1), 0);
  const auto jobs = status(cluster)["active_jobs"];
  REQUIRE(jobs.size() == 20);
  CHECK(jobs[0]["id"] == 1);
  CHECK(jobs[0]["state"] == "RUNNING");
  CHECK(jobs[1]["state"] == "STARTING");
  CHECK(jobs[3]["state"] == "QUEUED");
  CHECK(jobs[3]["id"] == 40);
}

TEST_CASE("status: failures are counted by class since the head started") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  const auto id = cluster.submit(1, 1);
  cluster.reserve(*a);
  cluster.start(*a, id, Attempt(1), 0);
  cluster.end(*a, id, Attempt(1), 0, 3);
  CHECK(status(cluster)["failures_by_class"] == proto::Json({{"user", {{"exit", 1}}}}));
  const HttpRequest request{http::verb::get, "/v1/jobs/1", 11};
  const auto job = *proto::parse_json(std::get<HttpResponse>(answer(cluster.dispatcher, request)).body());
  CHECK(job["failures_by_class"] == proto::Json({{"user", {{"exit", 1}}}}));
  test::Cluster next(cluster.store, cluster.store->recover());
  CHECK(status(next)["failures_by_class"] == proto::Json::object());
  CHECK(status(next)["since"] == proto::rfc3339(next.wall));
}

}  // namespace routes_status_test
