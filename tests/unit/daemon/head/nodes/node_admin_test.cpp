// What operators and agents say of nodes.
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace node_admin_test {

using namespace rtrain;
using core::JobPhase;

namespace {

constexpr Attempt k1(1), k2(2);

std::string reason(test::Cluster& cluster, JobId id) {
  return cluster.dispatcher.scheduling().waiting(id).reason;
}
const core::NodeView& view(test::Cluster& cluster, const std::string& name) {
  return cluster.dispatcher.nodes().find(name)->view;
}

/// A job of one rank on node a, and a node b beside it.
struct TwoNodes {
  std::shared_ptr<store::MemoryStore> disk = std::make_shared<store::MemoryStore>();
  test::Cluster cluster{disk, {}};
  std::shared_ptr<test::FakeAgent> a = cluster.connect("a", 1), b;
  JobId id = cluster.submit(1);
  TwoNodes() {
    cluster.reserve(*a);
    cluster.start(*a, id, k1, 0);
    b = cluster.connect("b", 1);
    REQUIRE(cluster.phase(id) == JobPhase::kRunning);
  }
  void yielded(Attempt attempt = k1) {
    proto::RankEnded end;
    end.key = {id, attempt, 0};
    end.status.exit_code = 0;
    end.yielded = true;
    cluster.dispatcher.agent_says(*a, end);
  }
  void breathe() {
    cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
    cluster.dispatcher.agent_says(*b, proto::Heartbeat{});
    cluster.dispatcher.tick();
  }
};

}  // namespace

TEST_CASE("nodes: nothing new starts on a cordoned node, running jobs continue") {
  TwoNodes t;
  auto& cluster = t.cluster;
  REQUIRE(cluster.dispatcher.node_admin().cordon("b", "new disk", "ann").has_value());
  const auto waits = cluster.submit(1);
  CHECK(cluster.phase(waits) == JobPhase::kQueued);
  CHECK(reason(cluster, waits).find("node b is cordoned") != std::string::npos);
  REQUIRE(cluster.dispatcher.node_admin().cordon("a", "", "ann").has_value());
  CHECK(cluster.phase(t.id) == JobPhase::kRunning);
  CHECK(t.a->all<proto::YieldAttempt>().empty());
  REQUIRE(cluster.dispatcher.node_admin().uncordon("b", "ann").has_value());
  CHECK(cluster.phase(waits) == JobPhase::kStarting);
  CHECK(cluster.dispatcher.node_admin().setting("b").is_default());
  for (const auto& done : {cluster.dispatcher.node_admin().cordon("c", "", "ann"),
                           cluster.dispatcher.node_admin().uncordon("c", "ann"),
                           cluster.dispatcher.node_admin().drain("c", "", {}, "ann"),
                           cluster.dispatcher.node_admin().label("c", {{"x", "y"}}, "ann"),
                           cluster.dispatcher.node_admin().return_gpus("c", {}, "ann")}) {
    REQUIRE_FALSE(done.has_value());
    CHECK(done.error().code() == Errc::kNotFound);
  }
}

TEST_CASE("nodes: a drain moves a job to another node and counts as no failure") {
  TwoNodes t;
  REQUIRE(t.cluster.dispatcher.node_admin().drain("a", "new disk", {}, "ann").has_value());
  const auto asked = t.a->all<proto::YieldAttempt>();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].grace_s == 60);  // the job's preempt_grace_s
  CHECK(asked[0].reason == "node a is drained by ann: new disk");
  CHECK(t.cluster.dispatcher.launcher().jobs_on("a") == std::set{t.id});
  t.yielded();
  CHECK(t.cluster.dispatcher.launcher().jobs_on("a").empty());
  const auto& state = t.cluster.state(t.id);
  CHECK(state.attempt == k2);
  CHECK(state.ranks[0].placement.node == "b");
  CHECK(state.drains == 1);
  CHECK(state.failures == 0);
  CHECK_FALSE(view(t.cluster, "b").cordoned);
}

TEST_CASE("nodes: a job that fits nowhere else waits in the queue until the node is back") {
  TwoNodes t;
  REQUIRE(t.cluster.dispatcher.node_admin().cordon("b", "", "ann").has_value());
  REQUIRE(t.cluster.dispatcher.node_admin().drain("a", "", {}, "ann").has_value());
  t.yielded();
  CHECK(t.cluster.phase(t.id) == JobPhase::kQueued);
  REQUIRE(t.cluster.dispatcher.node_admin().uncordon("a", "ann").has_value());
  CHECK(t.cluster.phase(t.id) == JobPhase::kStarting);
}

TEST_CASE("nodes: the deadline of a drain shortens the grace, and what is left then is stopped") {
  TwoNodes t;
  REQUIRE(t.cluster.dispatcher.node_admin().drain("a", "", 10.0, "ann").has_value());
  REQUIRE(t.a->all<proto::YieldAttempt>().size() == 1);
  CHECK(t.a->all<proto::YieldAttempt>()[0].grace_s == 10);
  t.cluster.pass(9.9);
  t.breathe();
  CHECK(t.a->all<proto::StopAttempt>().empty());
  t.cluster.pass(0.2);
  t.breathe();
  CHECK_FALSE(t.a->all<proto::StopAttempt>().empty());
  t.cluster.end(*t.a, t.id, k1, 0, 137);
  CHECK(t.cluster.state(t.id).ranks[0].placement.node == "b");
  CHECK(t.cluster.state(t.id).failures == 0);
}

TEST_CASE("nodes: a job that is being cancelled when its node is drained is stopped at the deadline") {
  TwoNodes t;
  REQUIRE(t.cluster.dispatcher.commands().cancel(t.id, "ann").has_value());
  REQUIRE(t.a->all<proto::StopAttempt>().size() == 1);
  REQUIRE(t.cluster.dispatcher.node_admin().drain("a", "", 2.0, "ann").has_value());
  CHECK(t.a->all<proto::YieldAttempt>().empty());
  t.cluster.pass(2.1);
  t.breathe();
  REQUIRE(t.a->all<proto::StopAttempt>().size() == 2);
  CHECK(t.a->all<proto::StopAttempt>()[1].grace_s == core::kFailureGraceS);
}

TEST_CASE(
    "nodes: an agent that was away at the deadline of a drain stops what is left at once when it comes "
    "back") {
  TwoNodes t;
  auto& cluster = t.cluster;
  REQUIRE(cluster.dispatcher.commands().cancel(t.id, "ann").has_value());  // with its stop_grace_s of 30
  REQUIRE(cluster.dispatcher.node_admin().drain("a", "", 2.0, "ann").has_value());
  cluster.dispatcher.agent_left(*t.a);
  cluster.pass(2.1);
  cluster.dispatcher.tick();
  const auto back = cluster.connect("a", 1, {{t.id, k1, 0}});
  REQUIRE(back->all<proto::StopAttempt>().size() == 1);
  CHECK(back->all<proto::StopAttempt>()[0].grace_s == core::kFailureGraceS);
}

TEST_CASE("nodes: a head that starts after the deadline of a drain gives no grace") {
  TwoNodes t;
  REQUIRE(t.cluster.dispatcher.node_admin().drain("a", "", 10.0, "ann").has_value());
  const auto yielding = t.disk->recover();
  auto asked_nobody = yielding;
  for (auto& job : asked_nobody.jobs) {  // as if the drain alone had reached the disk
    job.phase = JobPhase::kRunning;
    job.yield.reset();
  }
  for (const auto& recovered : {yielding, asked_nobody}) {
    test::Cluster cluster(t.disk, recovered, {}, 11);
    cluster.dispatcher.tick();  // nobody is there to be told
    const auto a = cluster.connect("a", 1, {{t.id, k1, 0}});
    cluster.dispatcher.tick();
    REQUIRE_FALSE(a->all<proto::StopAttempt>().empty());
    CHECK(a->all<proto::StopAttempt>()[0].grace_s == core::kFailureGraceS);
    for (const auto& asked : a->all<proto::YieldAttempt>()) CHECK(asked.grace_s == 0);
  }
}

TEST_CASE("nodes: settings outlive the head, and a drain goes on where it was") {
  TwoNodes t;
  REQUIRE(t.cluster.dispatcher.node_admin().drain("a", "new disk", 30.0, "ann").has_value());
  REQUIRE(t.cluster.dispatcher.node_admin().label("b", {{"rack", "r1"}}, "ann").has_value());
  // The head died before any job was asked: as if the drain alone had reached the disk.
  auto recovered = t.disk->recover();
  for (auto& job : recovered.jobs) {
    job.phase = JobPhase::kRunning;
    job.yield.reset();
  }
  test::Cluster cluster(t.disk, std::move(recovered));
  CHECK(cluster.dispatcher.node_admin().setting("a").draining);
  CHECK(view(cluster, "a").cordoned);  // known for its rank, its agent not yet there
  cluster.wall += 1;
  auto a = cluster.connect("a", 1, {{t.id, k1, 0}});
  auto b = cluster.connect("b", 1);
  REQUIRE(a->all<proto::YieldAttempt>().size() == 1);
  CHECK(a->all<proto::YieldAttempt>()[0].grace_s == 30);
  CHECK(view(cluster, "b").info.labels == std::map<std::string, std::string>{{"rack", "r1"}});
  REQUIRE(cluster.dispatcher.node_admin().uncordon("a", "ann").has_value());
  REQUIRE(cluster.dispatcher.node_admin().label("b", {{"rack", std::nullopt}}, "ann").has_value());
  CHECK(t.disk->recover().documents.empty());
}

TEST_CASE("nodes: labels lie over those of the agent and come back when they are taken away") {
  test::Cluster cluster;
  auto agent = std::make_shared<test::FakeAgent>("a");
  auto hello = test::Cluster::hello("a", 1, {});
  hello.node->labels = {{"rack", "r1"}, {"old", "1"}};
  REQUIRE(cluster.dispatcher.agent_joins(agent, hello).has_value());
  cluster.dispatcher.agent_joined(agent, hello);
  REQUIRE(cluster.dispatcher.node_admin()
              .label("a", {{"rack", "r2"}, {"zone", "z"}, {"old", std::nullopt}}, "ann")
              .has_value());
  CHECK(view(cluster, "a").info.labels == std::map<std::string, std::string>{{"rack", "r2"}, {"zone", "z"}});
  REQUIRE(cluster.dispatcher.node_admin().label("a", {{"zone", std::nullopt}}, "ann").has_value());
  CHECK_FALSE(cluster.dispatcher.node_admin().setting("a").labels.contains("zone"));
  for (const auto& [key, value] : {std::pair{"rtrain/node", "b"}, {"bad key", "x"}, {"ok", "bad value!"}}) {
    const auto refused = cluster.dispatcher.node_admin().label("a", {{key, value}}, "ann");
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code() == Errc::kInvalidArgument);
  }
}

TEST_CASE("nodes: a quarantined GPU is given to nobody until the agent or an operator gives it back") {
  test::Cluster cluster;
  auto agent = std::make_shared<test::FakeAgent>("a");
  auto hello = test::Cluster::hello("a", 4, {});
  hello.node->gpus = {{0, "", "H100", 0}, {3, "", "H100", 0}};
  hello.node->resources["GPU"] = 2;
  REQUIRE(cluster.dispatcher.agent_joins(agent, hello).has_value());
  cluster.dispatcher.agent_joined(agent, hello);
  cluster.dispatcher.agent_says(*agent, proto::NodeHealth{{3}, "pid 5 cannot be killed"});
  const auto with_gpu = [](proto::JobSpec& spec) {
    spec.scaling_config.use_gpu = true;
    spec.scaling_config.resources_per_worker = proto::Resources{{"CPU", 1}, {"GPU", 1}};
  };
  const auto first = cluster.submit(1, 0, with_gpu), second = cluster.submit(1, 0, with_gpu);
  CHECK(cluster.state(first).ranks[0].placement.gpus == std::vector{0});
  CHECK(cluster.phase(second) == JobPhase::kQueued);
  CHECK(cluster.dispatcher.node_admin().return_gpus("a", {0}, "ann").error().code() == Errc::kConflict);
  REQUIRE(cluster.dispatcher.node_admin().return_gpus("a", {3}, "ann").has_value());
  CHECK(cluster.state(second).ranks[0].placement.gpus == std::vector{3});
  // The agent says the same again: the operator's word stands. Once it was well and is ill again, it counts
  // anew.
  cluster.dispatcher.agent_says(*agent, proto::NodeHealth{{3}, "pid 5 cannot be killed, still"});
  CHECK(view(cluster, "a").gpus_out.empty());
  cluster.dispatcher.agent_says(*agent, proto::NodeHealth{{}, ""});
  cluster.dispatcher.agent_says(*agent, proto::NodeHealth{{3}, "pid 6 cannot be killed"});
  CHECK(view(cluster, "a").gpus_out == std::set{3});
  cluster.dispatcher.agent_says(*agent, proto::NodeHealth{{}, ""});
  CHECK(view(cluster, "a").gpus_out.empty());
  CHECK(cluster.store->recover().documents.empty());
}

TEST_CASE("nodes: a job waits for its reservation to begin; one that there is not is refused") {
  auto disk = std::make_shared<store::MemoryStore>();
  test::Cluster cluster(disk, {});
  auto a = cluster.connect("a", 4);
  const auto breathe = [&] {
    cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
    cluster.dispatcher.tick();
  };
  const auto named = [](proto::JobSpec& spec) { spec.scheduling.reservation = "night"; };
  auto spec = test::Cluster::spec(1, 0);
  named(spec);
  CHECK(cluster.dispatcher.commands().submit(spec, "ann").error().message() ==
        "scheduling.reservation: there is no reservation night");
  CHECK(cluster.dispatcher.reservations()
            .reserve({"night", {"c"}, cluster.wall, cluster.wall + 9000, {}, "ann"})
            .error()
            .code() == Errc::kNotFound);
  REQUIRE(cluster.dispatcher.reservations()
              .reserve({"night", {"a"}, cluster.wall + 5000, cluster.wall + 9000, {}, "ann"})
              .has_value());
  const auto id = cluster.submit(1, 0, named);
  CHECK(reason(cluster, id).find("waits for reservation night, which begins at ") == 0);
  REQUIRE(disk->recover().documents.size() == 1);
  {
    auto other_disk = std::make_shared<store::MemoryStore>();
    CHECK(test::Cluster(other_disk, disk->recover()).dispatcher.reservations().all().contains("night"));
  }
  cluster.pass(4.9);
  breathe();
  CHECK(cluster.phase(id) == JobPhase::kQueued);
  cluster.pass(0.2);
  breathe();
  CHECK(cluster.phase(id) == JobPhase::kStarting);
  cluster.pass(4);
  breathe();
  CHECK(cluster.dispatcher.reservations().all().empty());
  CHECK(disk->recover().documents.empty());
  CHECK(cluster.dispatcher.reservations().remove("night", "ann").error().code() == Errc::kNotFound);
}

}  // namespace node_admin_test
