// Arrays and dependencies, from submission to the last job.
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace job_commands_test {

using namespace rtrain;
using core::JobPhase;

namespace {

constexpr Attempt k1(1);

JobId submit_array(test::Cluster& cluster, const std::string& text) {
  return cluster.submit(1, 0,
                        [&](proto::JobSpec& spec) { spec.scheduling.array = *proto::parse_array(text); });
}
JobId submit_after(test::Cluster& cluster, const std::string& text) {
  return cluster.submit(
      1, 0, [&](proto::JobSpec& spec) { spec.scheduling.depends_on = *proto::parse_dependency(text); });
}
std::string reason(test::Cluster& cluster, JobId id) {
  return cluster.dispatcher.scheduling().waiting(id).reason;
}
std::vector<JobId> in_phase(test::Cluster& cluster, JobPhase phase) {
  std::vector<JobId> ids;
  for (const auto& [id, record] : cluster.dispatcher.jobs().all())
    if (record.state.phase == phase) ids.push_back(id);
  return ids;
}
/// Runs a job that was placed on `agent` to its end.
void play(test::Cluster& cluster, test::FakeAgent& agent, JobId id, int exit_code = 0) {
  REQUIRE(cluster.phase(id) == JobPhase::kStarting);
  cluster.dispatcher.agent_says(agent, proto::PortReserved{id, k1, 4000, ""});
  cluster.start(agent, id, k1, 0);
  cluster.end(agent, id, k1, 0, exit_code);
}
using Ids = std::vector<JobId>;

}  // namespace

TEST_CASE("submit: an array is a job for each index, with the index in its launch and its config") {
  test::Cluster cluster;
  const auto first = submit_array(cluster, "2-8:3");
  CHECK(cluster.dispatcher.jobs().queue().size() == 3);
  for (int i = 0; i < 3; ++i) {
    const auto& state = cluster.state(JobId(first.value() + i));
    REQUIRE(state.array.has_value());
    CHECK(to_string(*state.array) == to_string(first) + "_" + std::to_string(2 + 3 * i));
    CHECK(state.array->count == 3);
    CHECK(state.array->min == 2);
    CHECK(state.array->max == 8);
    CHECK(state.array->step == 3);
    CHECK(state.spec.identity() == cluster.state(first).spec.identity());
    CHECK(core::spec_of_rank(state).train_loop_config.at("array_index") == 2 + 3 * i);
    CHECK_FALSE(state.spec->scheduling.array.has_value());
  }
  auto a = cluster.connect("a", 1);
  cluster.reserve(*a);
  const auto launch = a->all<proto::Launch>().at(0);
  REQUIRE(launch.array.has_value());
  CHECK(launch.array->index == 2);
  CHECK(*cluster.dispatcher.commands().member(first, 5) == JobId(first.value() + 1));
  CHECK_FALSE(cluster.dispatcher.commands().member(first, 3).has_value());
  CHECK_FALSE(cluster.dispatcher.commands().member(JobId(2), 5).has_value());  // no array's number
}

TEST_CASE("submit: an array that is larger than the queue is refused whole") {
  proto::HeadConfig config;
  config.queue_max = 4;
  test::Cluster cluster(config);
  cluster.submit(1);
  proto::JobSpec spec;
  spec.name = "job";
  spec.command = {"train"};
  spec.scheduling.array = *proto::parse_array("0-3");
  const auto refused = cluster.dispatcher.commands().submit(spec);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code() == Errc::kUnavailable);
  CHECK(cluster.dispatcher.jobs().queue().size() == 1);
  spec.scheduling.array = *proto::parse_array("0-2");
  CHECK(cluster.dispatcher.commands().submit(spec).has_value());
}

TEST_CASE("submit: of an array with a limit so many run at a time, also after a restart") {
  auto disk = std::make_shared<store::MemoryStore>();
  JobId first;
  {
    test::Cluster cluster(disk, {});
    auto a = cluster.connect("a", 8);
    first = submit_array(cluster, "0-4%2");
    CHECK(in_phase(cluster, JobPhase::kStarting) == Ids{JobId(1), JobId(2)});
    CHECK(reason(cluster, JobId(3)) == "waits for its turn in array 1: 2 at a time");
    // Others do not wait behind those.
    const auto other = cluster.submit(1);
    CHECK(cluster.phase(other) == JobPhase::kStarting);
    play(cluster, *a, JobId(2));
    CHECK(in_phase(cluster, JobPhase::kStarting) == Ids{JobId(1), JobId(3), other});
  }
  test::Cluster cluster(disk, disk->recover());
  auto a = cluster.connect("a", 8, {{JobId(1), k1, 0}, {JobId(3), k1, 0}, {JobId(6), k1, 0}});
  CHECK(in_phase(cluster, JobPhase::kQueued) == Ids{JobId(4), JobId(5)});
  cluster.end(*a, JobId(1), k1, 0);
  CHECK(in_phase(cluster, JobPhase::kQueued) == Ids{JobId(5)});
}

TEST_CASE("submit: a job of an array is called by array and index in reasons and refusals") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  const auto alone = cluster.submit(1), array = submit_array(cluster, "3-5");
  CHECK(cluster.phase(alone) == JobPhase::kStarting);
  CHECK(reason(cluster, JobId(array.value() + 1)) == "waits behind job 2_3");
  CHECK(cluster.dispatcher.scheduling().plan(proto::ScalingConfig{}).reason == "waits behind job 2_3");
  const auto refusal = [&](const proto::JobEvent& event) {
    auto refused = cluster.dispatcher.commands().for_array(array, std::vector{4}, event);
    return refused ? "" : refused.error().message();
  };
  CHECK(refusal(proto::JobReleased{"ann"}) == "job 2_4 is not held");
  CHECK(refusal(proto::JobHeld{"ann"}).empty());
  CHECK(refusal(proto::JobHeld{"ann"}) == "job 2_4 is held already, by ann");
  CHECK(reason(cluster, JobId(array.value() + 1)) == "held by ann; `rtrain release 2_4` lets it start");
  CHECK(refusal(proto::CancelRequested{"ann"}).empty());
  CHECK(refusal(proto::CancelRequested{"ann"}) == "job 2_4 has already ended: CANCELLED");
}

TEST_CASE("submit: jobs of an array are cancelled, held and released together or by index") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 8);
  const auto array = submit_array(cluster, "0-9%2");
  const std::vector<int> some{3, 5};
  CHECK(*cluster.dispatcher.commands().for_array(array, some, proto::JobHeld{"ann"}) ==
        Ids{JobId(4), JobId(6)});
  CHECK(reason(cluster, JobId(4)).find("held by ann") == 0);
  CHECK(*cluster.dispatcher.commands().for_array(array, some, proto::JobReleased{"ann"}) ==
        Ids{JobId(4), JobId(6)});
  CHECK(*cluster.dispatcher.commands().for_array(array, std::vector{0, 2}, proto::CancelRequested{"ann"}) ==
        Ids{JobId(1), JobId(3)});
  CHECK(cluster.phase(JobId(3)) == JobPhase::kCancelled);
  CHECK(cluster.dispatcher.commands()
            .for_array(array, std::vector{2}, proto::CancelRequested{"ann"})
            .error()
            .code() == Errc::kConflict);
  CHECK(cluster.dispatcher.commands()
            .for_array(array, std::vector{10}, proto::CancelRequested{"ann"})
            .error()
            .code() == Errc::kNotFound);
  // job 1 was not yet launched: its place and its turn went to the next
  const auto placed = cluster.state(JobId(4)).attempt;
  CHECK(placed == k1);
  const auto rest =
      cluster.dispatcher.commands().for_array(array, std::nullopt, proto::CancelRequested{"bob"});
  REQUIRE(rest.has_value());
  CHECK(rest->size() == 8);
  for (const auto& [id, record] : cluster.dispatcher.jobs().all()) {
    CHECK(record.state.phase == JobPhase::kCancelled);
    // none was started while the others were being cancelled
    CHECK(record.state.attempt.value() <= (id <= JobId(2) || id == JobId(4) ? 1 : 0));
  }
  const auto alone = cluster.submit(1);
  CHECK(cluster.dispatcher.commands()
            .for_array(alone, std::nullopt, proto::CancelRequested{"bob"})
            .error()
            .code() == Errc::kNotFound);
}

TEST_CASE("submit: a job waits for another one to succeed") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 8);
  const auto first = cluster.submit(1);
  const auto second = submit_after(cluster, "afterok:1"), third = submit_after(cluster, "afterok:2"),
             other = cluster.submit(1);
  CHECK(reason(cluster, second) == "waits for job 1 to succeed (afterok:1)");
  CHECK(cluster.phase(other) == JobPhase::kStarting);
  play(cluster, *a, first);
  CHECK(cluster.phase(second) == JobPhase::kStarting);
  CHECK(reason(cluster, third) == "waits for job 2 to succeed (afterok:2)");
  play(cluster, *a, second, 3);
  CHECK(cluster.phase(third) == JobPhase::kQueued);
  CHECK(reason(cluster, third) ==
        "can never start: job 2 did not succeed (afterok:2, DependencyNeverSatisfied)");
  CHECK(cluster.dispatcher.commands().cancel(third, "ann").has_value());
}

TEST_CASE("submit: after and afterany, and a cancelled job counts as an end") {
  test::Cluster cluster;
  const auto first = cluster.submit(1);
  const auto after = submit_after(cluster, "after:1"), any = submit_after(cluster, "afterany:1"),
             held = submit_after(cluster, "afterany:1");
  REQUIRE(cluster.dispatcher.commands().hold(held, "ann").has_value());
  auto a = cluster.connect("a", 8);
  CHECK(cluster.phase(after) == JobPhase::kStarting);  // job 1 was placed with it
  CHECK(cluster.phase(any) == JobPhase::kQueued);
  cluster.dispatcher.agent_says(*a, proto::PortReserved{first, k1, 4000, ""});
  REQUIRE(cluster.dispatcher.commands().cancel(first, "ann").has_value());
  cluster.end(*a, first, k1, 0, 143);
  REQUIRE(cluster.phase(first) == JobPhase::kCancelled);
  CHECK(cluster.phase(any) == JobPhase::kStarting);
  CHECK(reason(cluster, held).find("held by ann") == 0);
  REQUIRE(cluster.dispatcher.commands().release(held, "ann").has_value());
  CHECK(cluster.phase(held) == JobPhase::kStarting);
}

TEST_CASE("submit: dependencies outlive a restart, and a job that ended long ago is asked of the store") {
  auto disk = std::make_shared<store::MemoryStore>();
  JobId waits;
  {
    test::Cluster cluster(disk, {});
    auto a = cluster.connect("a", 1);
    const auto first = cluster.submit(1), second = cluster.submit(1);
    play(cluster, *a, first);
    waits = submit_after(cluster, "afterok:1:2");
    CHECK(reason(cluster, waits) == "waits for job 2 to succeed (afterok:2)");
    CHECK(cluster.phase(second) == JobPhase::kStarting);
  }
  test::Cluster cluster(disk, disk->recover());
  auto a = cluster.connect("a", 1, {{JobId(2), k1, 0}});
  CHECK(reason(cluster, waits) == "waits for job 2 to succeed (afterok:2)");
  cluster.end(*a, JobId(2), k1, 0);
  CHECK(cluster.phase(waits) == JobPhase::kStarting);
  const auto late = submit_after(cluster, "afterok:1");
  CHECK(reason(cluster, late).find("afterok") == std::string::npos);
}

TEST_CASE("submit: a dependency on a job that nobody knows is refused") {
  test::Cluster cluster;
  proto::JobSpec spec;
  spec.name = "job";
  spec.command = {"train"};
  for (const int id : {1, 7}) {
    spec.scheduling.depends_on = {{proto::DependencyKind::kAfterAny, JobId(id)}};
    const auto refused = cluster.dispatcher.commands().submit(spec);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code() == Errc::kNotFound);
  }
  CHECK(cluster.dispatcher.jobs().all().empty());
}

TEST_CASE("submit: what waits for the success of a job that can never start says so, all along the chain",
          "[R22]") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 8);
  const auto first = cluster.submit(1);
  const auto second = submit_after(cluster, "afterok:1"), third = submit_after(cluster, "afterok:2"),
             fourth = submit_after(cluster, "afterok:3");
  const auto any = submit_after(cluster, "afterany:3");
  const auto array = cluster.submit(1, 0, [](proto::JobSpec& spec) {
    spec.scheduling.array = *proto::parse_array("0-2");
    spec.scheduling.depends_on = *proto::parse_dependency("afterok:4");
  });
  const auto last = submit_after(cluster, "afterok:" + to_string(array));
  play(cluster, *a, first, 1);
  const auto check = [&](test::Cluster& now) {
    CHECK(reason(now, second) ==
          "can never start: job 1 did not succeed (afterok:1, DependencyNeverSatisfied)");
    CHECK(reason(now, third) == "can never start: job 2 can never start (afterok:2)");
    CHECK(reason(now, fourth) == "can never start: job 3 can never start (afterok:3)");
    CHECK(reason(now, any) == "waits for job 3 to end (afterany:3)");
    CHECK(reason(now, last) == "can never start: job 6 can never start (afterok:6)");
  };
  check(cluster);
  const auto late = submit_after(cluster, "afterok:4");
  CHECK(reason(cluster, late) == "can never start: job 4 can never start (afterok:4)");
  test::Cluster next(cluster.store, cluster.store->recover());
  auto b = next.connect("b", 8);
  check(next);
  REQUIRE(next.dispatcher.commands().cancel(third, "ann").has_value());
  CHECK(reason(next, fourth) ==
        "can never start: job 3 did not succeed (afterok:3, DependencyNeverSatisfied)");
  CHECK(next.phase(any) == JobPhase::kStarting);
}

TEST_CASE("submit: an array that is waited for is done when all its jobs are") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 8);
  const auto array = submit_array(cluster, "0-2");
  play(cluster, *a, array);  // before anybody asks
  const auto ok = submit_after(cluster, "afterok:1"), any = submit_after(cluster, "afterany:1"),
             one = submit_after(cluster, "afterok:2");
  play(cluster, *a, JobId(2));
  CHECK(cluster.phase(one) == JobPhase::kStarting);
  CHECK(cluster.phase(ok) == JobPhase::kQueued);
  play(cluster, *a, JobId(3), 1);
  CHECK(cluster.phase(any) == JobPhase::kStarting);
  CHECK(reason(cluster, ok) ==
        "can never start: job 1 did not succeed (afterok:1, DependencyNeverSatisfied)");
}

TEST_CASE("submit: a job does not start before its time, whatever happens to the head meanwhile") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  const auto begin_ms = cluster.wall + 60'000;
  const auto id = cluster.submit(1, 0, [&](proto::JobSpec& spec) { spec.scheduling.begin_at_ms = begin_ms; });
  const std::string why = "begins at " + proto::rfc3339(begin_ms);
  CHECK(reason(cluster, id) == why);
  CHECK(cluster.dispatcher.scheduling().waiting(id).position == 0);
  SECTION("its time comes") {
    cluster.pass(59);
    cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
    cluster.dispatcher.tick();
    CHECK(cluster.phase(id) == JobPhase::kQueued);
    const auto other = cluster.submit(1);  // it blocks nobody
    CHECK(cluster.phase(other) == JobPhase::kStarting);
    REQUIRE(cluster.dispatcher.commands().cancel(other, "a test").has_value());
    cluster.dispatcher.agent_says(*a, proto::PortReserved{other, k1, 4000, ""});
    cluster.end(*a, other, k1, 0);
    CHECK(cluster.phase(id) == JobPhase::kQueued);
    cluster.pass(2);
    cluster.dispatcher.tick();
    CHECK(cluster.phase(id) == JobPhase::kStarting);
  }
  SECTION("the head starts again") {
    test::Cluster next(cluster.store, cluster.store->recover());
    auto b = next.connect("b", 1);
    CHECK(reason(next, id) == why);
    next.pass(61);
    next.dispatcher.agent_says(*b, proto::Heartbeat{});
    next.dispatcher.tick();
    CHECK(next.phase(id) == JobPhase::kStarting);
  }
  SECTION("it is held beyond its time") {
    REQUIRE(cluster.dispatcher.commands().hold(id, "a test").has_value());
    cluster.pass(61);
    cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
    cluster.dispatcher.tick();
    CHECK(cluster.phase(id) == JobPhase::kQueued);
    REQUIRE(cluster.dispatcher.commands().release(id, "a test").has_value());
    CHECK(cluster.phase(id) == JobPhase::kStarting);
  }
  SECTION("it is cancelled before") {
    REQUIRE(cluster.dispatcher.commands().cancel(id, "a test").has_value());
    cluster.pass(61);
    cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
    cluster.dispatcher.tick();
    CHECK(cluster.phase(id) == JobPhase::kCancelled);
  }
}

TEST_CASE("submit: a time to begin that is past is no wait, and a plan tells of one that is to come") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 2);
  const auto id =
      cluster.submit(1, 0, [&](proto::JobSpec& spec) { spec.scheduling.begin_at_ms = cluster.wall - 1; });
  CHECK(cluster.phase(id) == JobPhase::kStarting);
  auto spec = test::Cluster::spec(1);
  CHECK(cluster.dispatcher.scheduling().plan(spec).placement.placed());
  spec.scheduling.begin_at_ms = cluster.wall + 1000;
  const auto later = cluster.dispatcher.scheduling().plan(spec);
  CHECK_FALSE(later.placement.placed());
  CHECK(later.reason == "begins at " + proto::rfc3339(cluster.wall + 1000));
}

}  // namespace job_commands_test
