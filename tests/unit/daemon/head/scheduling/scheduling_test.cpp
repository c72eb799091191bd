#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace scheduling_scheduling_test {

using namespace rtrain;
using core::JobPhase;

namespace {

const Attempt k1(1), k2(2);

proto::HeadConfig with_queues(const char* queues) {
  proto::HeadConfig config;
  config.queues = *proto::read_queues(*proto::parse_json(queues));
  return config;
}

}  // namespace

TEST_CASE(
    "schedule: a job of higher priority asks for a place, gets it, and the other one goes on after it") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 2);
  const auto low = cluster.submit(2);
  cluster.reserve(*a);
  for (int rank = 0; rank < 2; ++rank) cluster.start(*a, low, k1, rank);
  const auto high = cluster.submit(2, 0, [](proto::JobSpec& spec) { spec.scheduling.priority = 5; });
  REQUIRE(a->all<proto::YieldAttempt>().size() == 1);
  CHECK(a->all<proto::YieldAttempt>()[0].reason ==
        "job " + to_string(high) + " of higher priority (5) needs its place");
  CHECK(a->all<proto::YieldAttempt>()[0].grace_s == 60);
  CHECK(cluster.dispatcher.scheduling().waiting(high).expected_start_ms == cluster.wall + 60'000);
  for (int rank = 0; rank < 2; ++rank) {
    proto::RankEnded end;
    end.key = {low, k1, rank};
    end.status.exit_code = 0;
    end.yielded = true;
    cluster.dispatcher.agent_says(*a, end);
  }
  CHECK(cluster.phase(low) == JobPhase::kQueued);
  CHECK(cluster.state(low).preemptions == 1);
  CHECK(cluster.phase(high) == JobPhase::kStarting);
  CHECK(cluster.dispatcher.scheduling().queue() == std::vector<JobId>{low});
  cluster.reserve(*a);
  for (int rank = 0; rank < 2; ++rank) cluster.end(*a, high, k1, rank);
  CHECK(cluster.phase(low) == JobPhase::kStarting);
  CHECK(cluster.state(low).attempt == k2);
}

TEST_CASE("schedule: an elastic job starts with what is there and grows when it may") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  const auto id = cluster.submit(3, 0, [](proto::JobSpec& spec) { spec.scaling_config.min_workers = 1; });
  CHECK(cluster.phase(id) == JobPhase::kStarting);
  CHECK(cluster.state(id).ranks.size() == 1);
  cluster.reserve(*a);
  CHECK(a->all<proto::Launch>()[0].world_size == 1);
  cluster.start(*a, id, k1, 0);
  auto b = cluster.connect("b", 1);
  CHECK(a->all<proto::YieldAttempt>().empty());  // not within a minute of its start
  cluster.pass(61);
  cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
  cluster.dispatcher.agent_says(*b, proto::Heartbeat{});
  cluster.dispatcher.tick();
  REQUIRE(a->all<proto::YieldAttempt>().size() == 1);
  CHECK(a->all<proto::YieldAttempt>()[0].reason == "2 workers would fit, 1 run");
  proto::RankEnded end;
  end.key = {id, k1, 0};
  end.status.exit_code = 0;
  end.yielded = true;
  cluster.dispatcher.agent_says(*a, end);
  CHECK(cluster.phase(id) == JobPhase::kStarting);
  CHECK(cluster.state(id).ranks.size() == 2);
  CHECK(cluster.state(id).ranks[0].placement.node == "a");  // rank 0 stays where it was
  CHECK(cluster.state(id).resizes == 1);
}

TEST_CASE("schedule: a queue refuses what it does not take, and gives its time limit") {
  test::Cluster cluster(with_queues(
      R"({"research": {"max_priority": 5, "time_limit_max": "2h", "time_limit_default": "1h"}})"));
  struct Row {
    const char* name;
    const char* queue;
    int priority;
    std::optional<double> limit_s;
    std::string message;
  };
  for (const auto& row :
       {Row{"unknown",
            "reserch",
            0,
            {},
            "scheduling.queue: there is no queue reserch; did you mean research?"},
        Row{"priority", "research", 6, {}, "scheduling.priority: 6 is above what queue research allows"},
        Row{"limit", "research", 0, 7201,
            "scheduling.time_limit: 7201 s is above what queue research allows"}}) {
    INFO(row.name);
    auto spec = test::Cluster::spec(1);
    spec.scheduling.queue = row.queue;
    spec.scheduling.priority = row.priority;
    spec.scheduling.time_limit_s = row.limit_s;
    const auto refused = cluster.dispatcher.commands().submit(spec);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code() == Errc::kInvalidArgument);
    CHECK(refused.error().message() == row.message);
  }
  const auto id = cluster.submit(1, 0, [](proto::JobSpec& spec) { spec.scheduling.queue = "research"; });
  CHECK(cluster.state(id).spec->scheduling.time_limit_s == 3600);
  CHECK_FALSE(cluster.state(cluster.submit(1)).spec->scheduling.time_limit_s);
}

TEST_CASE("schedule: who is over a quota waits, and the others do not") {
  test::Cluster cluster(with_queues(R"({"small": {"jobs_max": 1}})"));
  auto a = cluster.connect("a", 4);
  const auto in_small = [](proto::JobSpec& spec) { spec.scheduling.queue = "small"; };
  const auto first = cluster.submit(1, 0, in_small), second = cluster.submit(1, 0, in_small),
             other = cluster.submit(1);
  CHECK(cluster.phase(first) == JobPhase::kStarting);
  CHECK(cluster.phase(second) == JobPhase::kQueued);
  CHECK(cluster.phase(other) == JobPhase::kStarting);
  CHECK(cluster.dispatcher.scheduling().waiting(second).reason ==
        "queue small may run 1 jobs at a time and runs 1");
  CHECK(cluster.dispatcher.scheduling().waiting(second).position == 1);
}

TEST_CASE("schedule: what was used is accounted each minute, stored, and known to the next head") {
  auto disk = std::make_shared<store::MemoryStore>();
  core::FairShare stored;
  stored.charge("research", "", {{"CPU", 1}}, 1e6, 1'700'000'000'000);
  store::Recovered recovered;
  recovered.documents.push_back({"usage", "shares", stored.to_json()});
  test::Cluster cluster(disk, std::move(recovered), with_queues(R"({"research": {}})"));
  auto a = cluster.connect("a", 1);
  const auto running = cluster.submit(1);
  const auto research =
      cluster.submit(1, 0, [](proto::JobSpec& spec) { spec.scheduling.queue = "research"; });
  const auto plain = cluster.submit(1);
  CHECK(cluster.dispatcher.scheduling().queue() ==
        std::vector<JobId>{plain, research});  // the other queue has used much
  const auto before = disk->appended().events;
  cluster.pass(61);
  cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
  cluster.dispatcher.tick();
  CHECK(disk->appended().events == before + 1);
  CHECK(cluster.phase(running) == JobPhase::kStarting);
}

TEST_CASE("schedule: deferred passes are asked for once, however much changes") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 4);
  int due = 0;
  cluster.dispatcher.scheduling().defer_passes([&] { ++due; });
  std::vector<JobId> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(cluster.submit(1));
  CHECK(due == 1);
  CHECK(cluster.phase(ids[0]) == JobPhase::kQueued);
  CHECK(cluster.dispatcher.scheduling().waiting(ids[0]).reason == "is about to start");
  cluster.dispatcher.scheduling().pass();
  for (int i = 0; i < 6; ++i)
    CHECK(cluster.phase(ids[static_cast<std::size_t>(i)]) ==
          (i < 4 ? JobPhase::kStarting : JobPhase::kQueued));
  CHECK(cluster.dispatcher.scheduling().waiting(ids[5]).position == 2);
  cluster.submit(1);
  CHECK(due == 2);
}

}  // namespace scheduling_scheduling_test
