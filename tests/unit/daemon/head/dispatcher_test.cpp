#include "daemon/head/dispatcher.h"

#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace dispatcher_test {

using namespace rtrain;
using core::JobPhase;

namespace {
constexpr Attempt k1(1), k2(2);
}

TEST_CASE("dispatcher: a job is placed, its port reserved, launched on every node and ended") {
  test::Cluster cluster;
  auto a = cluster.connect("a"), b = cluster.connect("b", 1);
  const auto id = cluster.submit(3);
  REQUIRE(cluster.phase(id) == JobPhase::kStarting);
  REQUIRE(a->all<proto::ReservePort>().size() == 1);
  CHECK(a->all<proto::Launch>().empty());
  cluster.reserve(*a, 4711);
  REQUIRE(a->all<proto::Launch>().size() == 1);
  REQUIRE(b->all<proto::Launch>().size() == 1);
  const auto launch = b->all<proto::Launch>()[0];
  CHECK(launch.master_port == 4711);
  CHECK(launch.master_addr == cluster.dispatcher.nodes().find("a")->view.info.address);
  CHECK(launch.world_size == 3);
  CHECK(launch.num_nodes == 2);
  REQUIRE(launch.ranks.size() == 1);
  CHECK(launch.ranks[0].rank == 2);
  CHECK(launch.run_dir == "/results/" + launch.run_name);
  for (int rank = 0; rank < 2; ++rank) cluster.start(*a, id, k1, rank);
  CHECK(cluster.phase(id) == JobPhase::kStarting);
  cluster.start(*b, id, k1, 2);
  CHECK(cluster.phase(id) == JobPhase::kRunning);
  for (int rank = 0; rank < 2; ++rank) cluster.end(*a, id, k1, rank);
  cluster.end(*b, id, k1, 2);
  CHECK(cluster.phase(id) == JobPhase::kSucceeded);
  for (const auto& [name, node] : cluster.dispatcher.nodes().all()) CHECK(node.view.used.empty());
}

TEST_CASE("dispatcher: what does not fit waits and starts when there is room, in order") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 2);
  const auto first = cluster.submit(2), second = cluster.submit(2), third = cluster.submit(1);
  CHECK(cluster.phase(second) == JobPhase::kQueued);
  CHECK(cluster.dispatcher.scheduling().waiting(second).reason.find("none fits now") != std::string::npos);
  CHECK(cluster.dispatcher.scheduling().waiting(third).reason == "waits behind job " + to_string(second));
  cluster.reserve(*a);
  cluster.end(*a, first, k1, 0);
  CHECK(cluster.phase(second) == JobPhase::kQueued);
  cluster.end(*a, first, k1, 1);
  CHECK(cluster.phase(first) == JobPhase::kSucceeded);
  CHECK(cluster.phase(second) == JobPhase::kStarting);
  CHECK(cluster.phase(third) == JobPhase::kQueued);
}

TEST_CASE("dispatcher: a job that came before any node starts when one connects") {
  test::Cluster cluster;
  const auto id = cluster.submit(1);
  CHECK(cluster.dispatcher.scheduling().waiting(id).reason.find("no node is connected") != std::string::npos);
  cluster.connect("a");
  CHECK(cluster.phase(id) == JobPhase::kStarting);
}

TEST_CASE("dispatcher: one rank fails, the others are stopped at once and the job says why") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1), b = cluster.connect("b", 1);
  const auto id = cluster.submit(2);
  cluster.reserve(*a);
  cluster.start(*a, id, k1, 0);
  cluster.start(*b, id, k1, 1);
  cluster.end(*b, id, k1, 1, 3);
  CHECK(cluster.phase(id) == JobPhase::kStopping);
  REQUIRE(a->all<proto::StopAttempt>().size() == 1);
  CHECK(a->all<proto::StopAttempt>()[0].grace_s == core::kFailureGraceS);
  CHECK(b->all<proto::StopAttempt>().empty());  // nothing is left there
  cluster.end(*a, id, k1, 0, 143);
  CHECK(cluster.phase(id) == JobPhase::kFailed);
  CHECK(cluster.state(id).error->message == "rank 1 on node b: exited with code 3");
}

TEST_CASE("dispatcher: a failed attempt is tried again before the jobs that came later") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  const auto first = cluster.submit(1, 1), second = cluster.submit(1);
  cluster.reserve(*a);
  cluster.end(*a, first, k1, 0, 1);
  CHECK(cluster.phase(first) == JobPhase::kStarting);
  CHECK(cluster.state(first).attempt == k2);
  CHECK(cluster.phase(second) == JobPhase::kQueued);
  cluster.reserve(*a);
  cluster.end(*a, first, k1, 0, 0);  // the first attempt speaks late: fenced
  CHECK(cluster.phase(first) == JobPhase::kStarting);
  cluster.end(*a, first, k2, 0, 1);
  CHECK(cluster.phase(first) == JobPhase::kFailed);
  CHECK(cluster.state(first).failures == 2);
  CHECK(cluster.phase(second) == JobPhase::kStarting);
}

TEST_CASE("dispatcher: reports count from rank 0 only, with the latest checkpoints for the next attempt") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 2);
  const auto id = cluster.submit(2, 1);
  cluster.reserve(*a);
  proto::RankReport report;
  report.key = {id, k1, 0};
  report.seq = 1;
  report.metrics = {{"loss", 0.5}};
  report.checkpoint = proto::CheckpointRecord{"/results/x/checkpoint_000000", 0, {{"loss", 0.5}}};
  cluster.dispatcher.agent_says(*a, report);
  report.key.rank = 1;
  report.seq = 2;
  cluster.dispatcher.agent_says(*a, report);
  CHECK(cluster.state(id).reports == 1);
  CHECK(cluster.dispatcher.jobs().find(id)->metrics.size() == 1);
  cluster.end(*a, id, k1, 0, 1);
  cluster.end(*a, id, k1, 1, 1);
  cluster.reserve(*a);
  const auto launch = a->all<proto::Launch>().back();
  CHECK(launch.attempt == k2);
  CHECK(launch.next_checkpoint_index == 1);
  REQUIRE(launch.checkpoints.size() == 1);
}

TEST_CASE(
    "dispatcher: a launch carries of earlier checkpoints what ranks need, and stays a message however much "
    "was reported",
    "[F08]") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  const bool scored = GENERATE(false, true);
  const auto id = cluster.submit(1, 1, [&](proto::JobSpec& spec) {
    if (!scored) return;
    spec.run_config.checkpoint_config.num_to_keep = 1000;
    spec.run_config.checkpoint_config.checkpoint_score_attribute = "loss";
  });
  cluster.reserve(*a);
  for (int i = 0; i < 200; ++i) {
    proto::RankReport report;
    report.key = {id, k1, 0};
    report.seq = i + 1;
    report.checkpoint = proto::CheckpointRecord{
        "/results/x/checkpoint_" + std::to_string(i), i, {{"loss", i}, {"text", std::string(100'000, 'x')}}};
    cluster.dispatcher.agent_says(*a, report);
  }
  cluster.end(*a, id, k1, 0, 1);
  cluster.reserve(*a);
  const auto launch = a->all<proto::Launch>().back();
  CHECK(launch.attempt == k2);
  CHECK(proto::decode(proto::encode(launch)).has_value());
  REQUIRE(launch.checkpoints.size() == (scored ? 200u : 100u));
  CHECK(launch.checkpoints.back().index == 199);
  CHECK(launch.checkpoints.back().metrics == (scored ? proto::Json{{"loss", 199}} : proto::Json::object()));
  CHECK(cluster.state(id).checkpoints.back().metrics.size() == 2);  // the head keeps all of it
}

TEST_CASE(
    "dispatcher: a job that failed and starts again at once says the verdict, not that it is about to "
    "start") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  const auto id = cluster.submit(1, 1);
  cluster.reserve(*a);
  cluster.start(*a, id, k1, 0);
  cluster.dispatcher.scheduling().defer_passes([] {});
  cluster.end(*a, id, k1, 0, 3);
  CHECK(cluster.phase(id) == JobPhase::kQueued);
  CHECK(cluster.dispatcher.scheduling().waiting(id).reason ==
        "user failure 1, max_failures is 1: restarted at once");
}

TEST_CASE("dispatcher: a rank's news from a node it does not live on are skipped") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1), b = cluster.connect("b", 1);
  const auto id = cluster.submit(1);
  cluster.reserve(*a);
  cluster.end(*b, id, k1, 0);
  cluster.end(*b, id, k1, 7);
  cluster.end(*b, JobId(99), k1, 0);
  CHECK(cluster.phase(id) == JobPhase::kStarting);
}

TEST_CASE("dispatcher: cancelling") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  const auto id = cluster.submit(1), queued = cluster.submit(1);
  SECTION("a queued job is cancelled at once") {
    REQUIRE(cluster.dispatcher.commands().cancel(queued, "ann").has_value());
    CHECK(cluster.phase(queued) == JobPhase::kCancelled);
    CHECK(cluster.dispatcher.commands().cancel(queued, "ann").error().code() == Errc::kConflict);
    CHECK(cluster.dispatcher.commands().cancel(JobId(99), "ann").error().code() == Errc::kNotFound);
  }
  SECTION("one whose port is not yet there never starts") {
    REQUIRE(cluster.dispatcher.commands().cancel(id, "ann").has_value());
    CHECK(cluster.phase(id) == JobPhase::kCancelled);
    CHECK(cluster.phase(queued) == JobPhase::kStarting);
    cluster.dispatcher.agent_says(*a, proto::PortReserved{id, k1, 4000, ""});
    CHECK(a->all<proto::Launch>().empty());
  }
  SECTION("a running job is stopped with its own grace, then makes room") {
    cluster.reserve(*a);
    cluster.start(*a, id, k1, 0);
    REQUIRE(cluster.dispatcher.commands().cancel(id, "ann").has_value());
    REQUIRE(a->all<proto::StopAttempt>().size() == 1);
    CHECK(a->all<proto::StopAttempt>()[0].grace_s == 30);
    CHECK(cluster.phase(id) == JobPhase::kStopping);
    cluster.end(*a, id, k1, 0, 143);
    CHECK(cluster.phase(id) == JobPhase::kCancelled);
    CHECK(cluster.phase(queued) == JobPhase::kStarting);
  }
}

TEST_CASE(
    "dispatcher: an agent lost between placement and launch ends the attempt, and the job is placed again") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1), b = cluster.connect("b", 1);
  const auto id = cluster.submit(2);
  SECTION("rank 0's agent goes before it has a port") {
    a->open = false;
    cluster.dispatcher.agent_left(*a);
  }
  SECTION("it has no port to give") {
    cluster.dispatcher.agent_says(*a, proto::PortReserved{id, k1, 0, "no more ports"});
  }
  SECTION("another agent goes before its launch") {
    b->open = false;
    cluster.dispatcher.agent_left(*b);
    cluster.reserve(*a);
    REQUIRE(a->all<proto::StopAttempt>().size() == 1);
    CHECK(cluster.phase(id) == JobPhase::kStopping);
    cluster.end(*a, id, k1, 0, 143);
    CHECK(cluster.phase(id) == JobPhase::kQueued);
  }
  CHECK(cluster.state(id).error->kind == "lost");
  CHECK(cluster.state(id).failures == 0);
  CHECK(cluster.state(id).controller_failures == 1);
  const bool again = cluster.phase(id) == JobPhase::kStarting;
  CHECK(cluster.state(id).attempt == Attempt(again ? 2 : 1));
  for (const auto& [name, node] : cluster.dispatcher.nodes().all()) CHECK(node.view.used.empty() != again);
}

TEST_CASE("dispatcher: nothing is placed on a node whose agent is away, and no attempt is burnt on it") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  cluster.dispatcher.agent_left(*a);
  const auto id = cluster.submit(1, 3);
  CHECK(cluster.phase(id) == JobPhase::kQueued);
  CHECK(cluster.state(id).failures == 0);
  CHECK(cluster.dispatcher.scheduling().waiting(id).reason.find("node a is not connected at the moment") !=
        std::string::npos);
  cluster.connect("a", 1);
  CHECK(cluster.phase(id) == JobPhase::kStarting);
}

TEST_CASE(
    "dispatcher: an agent that comes back in time goes on with its ranks; those it no longer has are lost") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 2);
  const auto id = cluster.submit(2);
  cluster.reserve(*a);
  for (int rank = 0; rank < 2; ++rank) cluster.start(*a, id, k1, rank);
  cluster.dispatcher.agent_left(*a);
  cluster.pass(5);
  cluster.dispatcher.tick();
  CHECK(cluster.phase(id) == JobPhase::kRunning);
  SECTION("with both") {
    a = cluster.connect("a", 2, {{id, k1, 0}, {id, k1, 1}});
    CHECK(cluster.phase(id) == JobPhase::kRunning);
    CHECK(a->heard.empty());
    for (int rank = 0; rank < 2; ++rank) cluster.end(*a, id, k1, rank);
    CHECK(cluster.phase(id) == JobPhase::kSucceeded);
  }
  SECTION("with one") {
    a = cluster.connect("a", 2, {{id, k1, 0}});
    CHECK(cluster.phase(id) == JobPhase::kStopping);
    CHECK(cluster.state(id).error->kind == "lost");
    CHECK(cluster.state(id).error->rank == 1);
    CHECK_FALSE(a->all<proto::StopAttempt>().empty());
  }
  SECTION("with a rank that nobody wants any more") {
    REQUIRE(cluster.dispatcher.commands().cancel(id, "ann").has_value());
    a = cluster.connect("a", 2, {{id, k1, 0}, {id, k1, 1}, {JobId(77), k1, 0}});
    CHECK(a->all<proto::StopAttempt>().size() == 2);
  }
}

TEST_CASE(
    "dispatcher: an agent not heard of for its lease and two heartbeats is lost, and its ranks run "
    "elsewhere") {
  proto::HeadConfig config;
  config.lease_s = 15;
  config.heartbeat_s = 2;
  test::Cluster cluster(config);
  auto a = cluster.connect("a", 1);
  const auto id = cluster.submit(1, 1);
  cluster.reserve(*a);
  cluster.start(*a, id, k1, 0);
  auto b = cluster.connect("b", 1);
  cluster.pass(18.9);
  cluster.dispatcher.agent_says(*b, proto::Heartbeat{});
  cluster.dispatcher.tick();
  CHECK(cluster.phase(id) == JobPhase::kRunning);
  cluster.pass(0.2);
  cluster.dispatcher.tick();
  CHECK_FALSE(a->open);
  CHECK(cluster.state(id).attempt == k2);
  CHECK(cluster.state(id).ranks[0].placement.node == "b");
  CHECK(cluster.state(id).failures == 1);
  CHECK(cluster.state(id).error->kind == "lost");
  // The lost node is back, with a rank that is no longer wanted.
  a = cluster.connect("a", 1, {{id, k1, 0}});
  REQUIRE(a->all<proto::StopAttempt>().size() == 1);
  CHECK(a->all<proto::StopAttempt>()[0].attempt == k1);
}

TEST_CASE(
    "dispatcher: a second agent of the same name is refused while the first lives, and takes over a "
    "connection that broke") {
  test::Cluster cluster;
  auto first = cluster.connect("a");
  cluster.connect("a");
  REQUIRE(cluster.last_answer.has_error());
  CHECK(cluster.last_answer.error().code() == Errc::kConflict);
  CHECK(first->open);
  cluster.pass(6.1);  // three heartbeats of silence
  auto second = cluster.connect("a");
  REQUIRE(cluster.last_answer.has_value());
  CHECK_FALSE(first->open);
  cluster.dispatcher.agent_left(*first);  // its end is noticed late
  const auto id = cluster.submit(1);
  CHECK(cluster.phase(id) == JobPhase::kStarting);
  CHECK(second->all<proto::ReservePort>().size() == 1);
}

TEST_CASE("dispatcher: an agent that offers what cannot be is refused") {
  test::Cluster cluster;
  for (auto wrong : {std::string(), std::string("a b"), std::string(256, 'x'), std::string("a\n")}) {
    auto agent = std::make_shared<test::FakeAgent>(wrong);
    CHECK(cluster.dispatcher.agent_joins(agent, test::Cluster::hello(wrong.empty() ? "" : wrong, 1, {}))
              .has_error());
  }
  cluster.connect("a", -1);
  CHECK(cluster.last_answer.has_error());
  cluster.connect("a", std::numeric_limits<double>::infinity());
  CHECK(cluster.last_answer.has_error());
  CHECK(cluster.dispatcher.nodes().views().empty());
}

TEST_CASE("dispatcher: a full queue refuses, and an agent's message for nobody ends its connection") {
  proto::HeadConfig config;
  config.queue_max = 2;
  test::Cluster cluster(config);
  cluster.submit(1);
  cluster.submit(1);
  const auto refused = cluster.dispatcher.commands().submit({});
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == Errc::kUnavailable);
  auto a = cluster.connect("a");
  cluster.dispatcher.agent_says(*a, proto::Welcome{});
  CHECK_FALSE(a->open);
}

TEST_CASE("dispatcher: plan() looks behind the queue and changes nothing") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 2);
  proto::ScalingConfig scaling;
  CHECK(cluster.dispatcher.scheduling().plan(scaling).placement.placed());
  cluster.submit(2);
  const auto waiting = cluster.submit(1);
  const auto decision = cluster.dispatcher.scheduling().plan(scaling);
  CHECK_FALSE(decision.placement.placed());
  CHECK(decision.queue_position == 2);
  CHECK(decision.reason == "waits behind job " + to_string(waiting));
  CHECK(cluster.dispatcher.jobs().all().size() == 2);
}

TEST_CASE("dispatcher: an agent that takes the place of a dead connection is asked again for the port") {
  test::Cluster cluster;
  auto dead = cluster.connect("a");
  const auto id = cluster.submit(1);
  CHECK(dead->all<proto::ReservePort>().size() == 1);  // went into a connection that nobody reads any more
  cluster.pass(10);
  auto a = cluster.connect("a");
  REQUIRE(cluster.last_answer.has_value());
  CHECK_FALSE(dead->open);
  REQUIRE(a->all<proto::ReservePort>().size() == 1);
  cluster.reserve(*a);
  CHECK(a->all<proto::Launch>().size() == 1);
  CHECK(cluster.phase(id) == core::JobPhase::kStarting);
}

}  // namespace dispatcher_test
