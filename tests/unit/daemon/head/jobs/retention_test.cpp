// What the head forgets of jobs that ended, and what it keeps for others.
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace jobs_retention_test {

using namespace rtrain;
using core::JobPhase;

namespace {

using Ids = std::vector<JobId>;

JobId submit_after(test::Cluster& cluster, const std::string& text) {
  return cluster.submit(
      1, 0, [&](proto::JobSpec& spec) { spec.scheduling.depends_on = *proto::parse_dependency(text); });
}
JobId end_one(test::Cluster& cluster) {
  const auto id = cluster.submit(1);
  REQUIRE(cluster.dispatcher.commands().cancel(id, "ann").has_value());
  return id;
}
Ids pruned(test::Cluster& cluster, std::int64_t keep, bool dry_run = false) {
  Ids gone;
  std::int64_t jobs = -1;
  cluster.dispatcher.retention().prune({{}, keep, {}, dry_run}, [&](const store::Pruned& pruned) {
    gone = pruned.gone;
    jobs = pruned.jobs;
  });
  if (!dry_run) CHECK(std::cmp_equal(jobs, gone.size()));
  return gone;
}

}  // namespace

TEST_CASE(
    "retention: a pruned job is known no more, its number is not given again, and who follows it is woken") {
  test::Cluster cluster;
  const auto first = end_one(cluster), second = end_one(cluster), waits = cluster.submit(1);
  CHECK(pruned(cluster, 1, true).empty());
  CHECK(cluster.dispatcher.jobs().find(first) != nullptr);
  const int changes = cluster.changes;
  CHECK(pruned(cluster, 1) == Ids{first});
  CHECK(cluster.changes > changes);
  CHECK(cluster.dispatcher.jobs().find(first) == nullptr);
  CHECK(cluster.dispatcher.commands().cancel(first, "ann").error().code() == Errc::kNotFound);
  CHECK(pruned(cluster, 0) == Ids{second});
  CHECK(cluster.phase(waits) == JobPhase::kQueued);
  CHECK(cluster.submit(1).value() == waits.value() + 1);
}

TEST_CASE("retention: what a waiting job depends on stays, and arrays stay whole") {
  test::Cluster cluster;
  const auto awaited = end_one(cluster);
  const auto blocker = cluster.submit(1);
  const auto waits = submit_after(cluster, "afterany:" + to_string(awaited) + ":" + to_string(blocker));
  const auto array =
      cluster.submit(1, 0, [](proto::JobSpec& spec) { spec.scheduling.array = *proto::parse_array("0-1"); });
  REQUIRE(cluster.dispatcher.commands().cancel(array, "ann").has_value());
  CHECK(pruned(cluster, 0).empty());
  REQUIRE(cluster.dispatcher.commands().cancel(JobId(array.value() + 1), "ann").has_value());
  REQUIRE(cluster.dispatcher.commands().cancel(waits, "ann").has_value());
  CHECK(pruned(cluster, 0).size() == 4);
}

TEST_CASE("retention: a dependency on a job that was pruned says so") {
  test::Cluster cluster;
  const auto gone = end_one(cluster);
  const auto waits = submit_after(cluster, "afterok:" + to_string(gone));
  auto recovered = cluster.store->recover();
  cluster.store->prune({{}, 0, {}, false}, [](const store::Pruned&) {});
  test::Cluster next(cluster.store, std::move(recovered));
  next.dispatcher.tick();
  CHECK(next.dispatcher.scheduling().waiting(waits).reason ==
        "can never start: job 1 was pruned, nobody knows whether it succeeded (afterok:1, "
        "DependencyNeverSatisfied)");
}

TEST_CASE("retention: the settings are applied a minute after the start, and then once an hour") {
  proto::HeadConfig config;
  config.retention_days = 2;
  config.retention_jobs = 2;
  test::Cluster cluster(config);
  const auto known = [&] { return cluster.store->ended_jobs(JobId(1000), 100)->size(); };
  for (int i = 0; i < 4; ++i) end_one(cluster);
  cluster.pass(59);
  cluster.dispatcher.tick();
  CHECK(known() == 4);
  cluster.pass(2);
  cluster.dispatcher.tick();
  CHECK(known() == 2);
  end_one(cluster);
  cluster.pass(3500);
  cluster.dispatcher.tick();
  CHECK(known() == 3);
  cluster.pass(101);
  cluster.dispatcher.tick();
  CHECK(known() == 2);
  cluster.pass(2 * 24 * 3600);
  cluster.dispatcher.tick();
  CHECK(known() == 0);
}

TEST_CASE("retention: as long as the clock is doubted no job is forgotten by age", "[F47]") {
  proto::HeadConfig config;
  config.retention_days = 2;
  config.retention_jobs = 3;
  test::Cluster cluster(config);
  const auto known = [&] { return cluster.store->ended_jobs(JobId(1000), 100)->size(); };
  for (int i = 0; i < 3; ++i) end_one(cluster);
  cluster.pass(61);
  cluster.clock_doubt = "the clock of this machine is 3650 days ahead";
  cluster.wall += 3650ll * 24 * 3600 * 1000;
  cluster.dispatcher.tick();
  CHECK(known() == 3);
  end_one(cluster);
  cluster.pass(3601);
  cluster.dispatcher.tick();
  CHECK(known() == 3);  // their number needs no clock
  cluster.clock_doubt.clear();
  cluster.pass(3 * 24 * 3600);
  cluster.dispatcher.tick();
  CHECK(known() == 0);
}

TEST_CASE("retention: 0 is no limit") {
  proto::HeadConfig config;
  config.retention_days = 0;
  config.retention_jobs = 0;
  test::Cluster cluster(config);
  end_one(cluster);
  cluster.pass(1e9);
  cluster.dispatcher.tick();
  CHECK(cluster.store->ended_jobs(JobId(1000), 100)->size() == 1);
}

}  // namespace jobs_retention_test
