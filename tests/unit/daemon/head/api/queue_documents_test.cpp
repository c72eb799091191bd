#include "daemon/head/api/queue_documents.h"

#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace queue_documents_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

std::vector<proto::QueueDoc> docs(const test::Cluster& cluster) {
  return queue_docs(cluster.dispatcher.scheduling().planner(), cluster.dispatcher.jobs().tally());
}

proto::HeadConfig with_queues(const char* queues) {
  proto::HeadConfig config;
  config.queues = *proto::read_queues(*proto::parse_json(queues));
  return config;
}

}  // namespace

TEST_CASE("queue documents: queues that are configured and idle are there, with their weights and shares") {
  test::Cluster cluster(
      with_queues(R"({"big": {"weight": 3, "cpus_max": 8, "user_jobs_max": 2}, "small": {}})"));
  const auto all = docs(cluster);
  REQUIRE(all.size() == 3);
  CHECK(all[0].name == "big");
  CHECK(all[0].weight == 3);
  CHECK(all[0].share == Approx(0.6));
  CHECK(all[0].cpus_max == 8.0);
  CHECK(all[0].user_jobs_max == 2);
  CHECK_FALSE(all[0].gpus_max.has_value());
  CHECK(all[1].name == "default");
  CHECK(all[1].share == Approx(0.2));
  CHECK(all[2].usage == 0);
  CHECK(all[2].users.empty());
}

TEST_CASE("queue documents: what runs, waits, is held and was used, by queue and user") {
  test::Cluster cluster(with_queues(R"({"big": {"weight": 3}})"));
  auto a = cluster.connect("a", 4);
  const auto submit = [&](const std::string& user, const std::string& queue, int workers) {
    auto spec = test::Cluster::spec(workers);
    spec.scheduling.queue = queue;
    return *cluster.dispatcher.commands().submit(spec, user);
  };
  (void)submit("ann", "big", 2);
  (void)submit("bob", "big", 1);
  (void)submit("ann", "default", 1);
  (void)submit("ann", "big", 3);
  (void)submit("bob", "default", 1);
  cluster.pass(61);
  cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
  cluster.dispatcher.tick();
  auto all = docs(cluster);
  REQUIRE(all.size() == 2);
  const auto& big = all[0];
  CHECK(big.running == 2);
  CHECK(big.waiting == 1);
  CHECK(big.cpus == 3);
  CHECK(big.usage == Approx(0.75));
  CHECK(big.used.at("CPU") == Approx(3 * 61).epsilon(0.001));
  REQUIRE(big.users.size() == 2);
  CHECK(big.users[0].name == "ann");
  CHECK(big.users[0].cpus == 2);
  CHECK(big.users[0].waiting == 1);
  CHECK(big.users[0].usage == Approx(2.0 / 3));
  CHECK(all[1].usage == Approx(0.25));
  CHECK(all[1].users[1].name == "bob");
  CHECK(all[1].users[1].running == 0);
  CHECK(all[1].users[1].waiting == 1);
}

}  // namespace queue_documents_test
