// What the head does with time: back-off, time limits, yields, hangs; and what it learns of nodes.
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace attempt_life_test {

using namespace rtrain;
using core::JobPhase;

namespace {

constexpr Attempt k1(1), k2(2), k3(3), k4(4);

/// A job of one rank that runs on node a.
struct Running {
  test::Cluster cluster;
  std::shared_ptr<test::FakeAgent> a = cluster.connect("a", 2);
  JobId id;
  explicit Running(
      int max_failures = 0, void (*change)(proto::JobSpec&) = [](proto::JobSpec&) {})
      : id(cluster.submit(1, max_failures, change)) {
    start(k1);
  }
  void start(Attempt attempt) {
    cluster.reserve(*a);
    cluster.start(*a, id, attempt, 0);
    REQUIRE(cluster.phase(id) == JobPhase::kRunning);
  }
  void end(Attempt attempt, int code, bool yielded = false) {
    proto::RankEnded end;
    end.key = {id, attempt, 0};
    end.status.exit_code = code;
    end.yielded = yielded;
    cluster.dispatcher.agent_says(*a, end);
  }
  void pass(double seconds) {
    // The agent goes on breathing, or it would be lost.
    for (double left = seconds; left > 0; left -= 1) {
      cluster.pass(std::min(left, 1.0));
      cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
      cluster.dispatcher.tick();
    }
  }
  const core::JobState& state() { return cluster.state(id); }
};

proto::RankProgress step(const JobId id, Attempt attempt, std::int64_t step, const char* stage = "train") {
  proto::RankProgress progress;
  progress.key = {id, attempt, 0};
  progress.stage = stage;
  progress.step = step;
  return progress;
}

proto::RankDiagnosis diagnosis(JobId id, int rank, std::int64_t step, bool in_collective) {
  return {{id, k1, rank}, "train", 0, step, 30, "allreduce", in_collective ? 83 : 82, in_collective};
}

}  // namespace

TEST_CASE(
    "dispatcher: a node that goes away in the middle of a launch: the others hear of the launch before they "
    "hear of its end") {
  test::Cluster cluster;
  const std::vector agents{cluster.connect("a", 1), cluster.connect("b", 1), cluster.connect("c", 1)};
  const auto id = cluster.submit(3);
  agents[1]->open = false;  // its end is not read yet
  for (const auto& agent : agents)
    if (!agent->all<proto::ReservePort>().empty()) cluster.reserve(*agent);
  const auto& last = agents[2]->heard;
  REQUIRE(last.size() == 2);
  CHECK(std::holds_alternative<proto::Launch>(last[0]));
  REQUIRE(std::holds_alternative<proto::StopAttempt>(last[1]));
  CHECK(std::get<proto::StopAttempt>(last[1]).job == id);
}

TEST_CASE("life: a job that fails again and again waits longer each time") {
  Running job(-1);
  job.end(k1, 3);
  CHECK(job.cluster.phase(job.id) == JobPhase::kStarting);  // the first retry is at once
  job.start(k2);
  job.end(k2, 3);
  CHECK(job.cluster.phase(job.id) == JobPhase::kQueued);
  CHECK(job.cluster.dispatcher.scheduling().waiting(job.id).reason ==
        "failed, and waits until " + proto::rfc3339(job.cluster.wall + 1000) + " before it starts again");
  // Others do not wait behind it.
  const auto other = job.cluster.submit(1);
  CHECK(job.cluster.phase(other) == JobPhase::kStarting);
  job.pass(0.9);
  CHECK(job.cluster.phase(job.id) == JobPhase::kQueued);
  job.pass(0.2);
  CHECK(job.cluster.phase(job.id) == JobPhase::kStarting);
  job.start(k3);
  job.end(k3, 3);
  job.pass(1.9);
  CHECK(job.cluster.phase(job.id) == JobPhase::kQueued);
  job.pass(0.2);
  job.start(k4);
}

TEST_CASE("life: a clock that jumps does not change how long a job waits") {
  Running job(-1);
  job.end(k1, 3);
  job.start(k2);
  job.end(k2, 3);
  job.cluster.wall -= 86'400'000;
  job.pass(1.1);
  CHECK(job.cluster.phase(job.id) == JobPhase::kStarting);
}

TEST_CASE("life: the time limit stops the attempt with the job's own grace, and the job has failed") {
  Running job(5, [](proto::JobSpec& spec) {
    spec.scheduling.time_limit_s = 60;
    spec.run_config.stop_grace_s = 7;
  });
  job.pass(59);
  CHECK(job.cluster.phase(job.id) == JobPhase::kRunning);
  job.pass(1);
  CHECK(job.cluster.phase(job.id) == JobPhase::kStopping);
  const auto stops = job.a->all<proto::StopAttempt>();
  REQUIRE(stops.size() == 1);
  CHECK(stops[0].grace_s == 7);
  CHECK(stops[0].reason == "ran into its time limit of 60 s");
  // An agent that comes back meanwhile hears the same.
  job.cluster.dispatcher.agent_left(*job.a);
  job.a = job.cluster.connect("a", 2, {{job.id, k1, 0}});
  REQUIRE(job.a->all<proto::StopAttempt>().size() == 1);
  CHECK(job.a->all<proto::StopAttempt>()[0].grace_s == 7);
  job.end(k1, 143);
  CHECK(job.cluster.phase(job.id) == JobPhase::kFailed);
  CHECK(job.state().error->kind == "time_limit");
}

TEST_CASE("life: a new attempt has its own time") {
  Running job(1, [](proto::JobSpec& spec) { spec.scheduling.time_limit_s = 60; });
  job.pass(50);
  job.end(k1, 3);
  job.start(k2);
  job.pass(50);
  CHECK(job.cluster.phase(job.id) == JobPhase::kRunning);
  job.pass(11);
  CHECK(job.cluster.phase(job.id) == JobPhase::kStopping);
}

TEST_CASE("life: an attempt that is asked to yield goes back into the queue") {
  Running job;
  REQUIRE(job.cluster.dispatcher.commands()
              .yield(job.id, proto::YieldCause::kDrain, "node a is drained", 20)
              .has_value());
  CHECK(job.cluster.phase(job.id) == JobPhase::kStopping);
  const auto asked = job.a->all<proto::YieldAttempt>();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].grace_s == 20);
  CHECK(asked[0].reason == "node a is drained");
  CHECK(job.a->all<proto::StopAttempt>().empty());
  CHECK(job.cluster.dispatcher.commands()
            .yield(job.id, proto::YieldCause::kDrain, "again", 20)
            .error()
            .code() == Errc::kConflict);
  SECTION("it yields") {
    job.end(k1, 0, true);
    CHECK(job.cluster.phase(job.id) == JobPhase::kStarting);  // its place is the only one
    CHECK(job.state().failures == 0);
    job.start(k2);
    job.pass(30);
    CHECK(job.cluster.phase(job.id) == JobPhase::kRunning);  // nothing is left of the old grace
  }
  SECTION("it is through before it hears of it") {
    job.end(k1, 0);
    CHECK(job.cluster.phase(job.id) == JobPhase::kSucceeded);
  }
  SECTION("it does not end in time") {
    job.pass(19);
    CHECK(job.a->all<proto::StopAttempt>().empty());
    job.pass(1);
    REQUIRE(job.a->all<proto::StopAttempt>().size() == 1);
    CHECK(job.a->all<proto::StopAttempt>()[0].reason == "did not yield in time: node a is drained");
    job.end(k1, 137);
    CHECK(job.cluster.phase(job.id) == JobPhase::kStarting);
    CHECK(job.state().failures == 0);
  }
  SECTION("its agent comes back meanwhile and hears of what is left of the grace") {
    job.pass(5);
    job.cluster.dispatcher.agent_left(*job.a);
    job.a = job.cluster.connect("a", 2, {{job.id, k1, 0}});
    REQUIRE(job.a->all<proto::YieldAttempt>().size() == 1);
    CHECK(job.a->all<proto::YieldAttempt>()[0].grace_s == Approx(15));
    CHECK(job.a->all<proto::StopAttempt>().empty());
  }
  SECTION("it is cancelled meanwhile") {
    REQUIRE(job.cluster.dispatcher.commands().cancel(job.id, "ann").has_value());
    job.end(k1, 0, true);
    CHECK(job.cluster.phase(job.id) == JobPhase::kCancelled);
  }
}

TEST_CASE("life: an attempt that was never launched yields at once") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  const auto id = cluster.submit(1);
  REQUIRE(cluster.phase(id) == JobPhase::kStarting);
  REQUIRE(cluster.dispatcher.commands()
              .yield(id, proto::YieldCause::kPreempted, "job 9 needs its place", 20)
              .has_value());
  CHECK(cluster.state(id).preemptions == 1);
  CHECK(a->all<proto::YieldAttempt>().empty());
  CHECK(cluster.state(id).failures == 0);
  CHECK(cluster.dispatcher.commands().yield(JobId(99), proto::YieldCause::kDrain, "", 1).error().code() ==
        Errc::kNotFound);
}

TEST_CASE("life: a preemption too many ends the job") {
  Running job(0, [](proto::JobSpec& spec) { spec.run_config.failure_config.max_preemption_failures = 0; });
  REQUIRE(job.cluster.dispatcher.commands()
              .yield(job.id, proto::YieldCause::kPreempted, "job 9 needs its place", 20)
              .has_value());
  job.end(k1, 0, true);
  CHECK(job.cluster.phase(job.id) == JobPhase::kFailed);
  CHECK(job.state().error->kind == "preempted");
  CHECK(job.state().verdict == "preemption 1, max_preemption_failures is 0: not restarted");
}

TEST_CASE("life: the first step of an attempt is kept, once") {
  Running job(1);
  job.cluster.dispatcher.agent_says(*job.a, step(job.id, k1, 0));
  job.cluster.dispatcher.agent_says(*job.a, step(job.id, k1, 5, "sanity"));
  CHECK_FALSE(job.state().first_step);
  job.cluster.dispatcher.agent_says(*job.a, step(job.id, k1, 1));
  job.cluster.dispatcher.agent_says(*job.a, step(job.id, k1, 2));
  CHECK(job.state().first_step);
  const auto events = *job.cluster.store->events(job.id, 0, 100);
  CHECK(std::ranges::count_if(events, [](const proto::StampedEvent& e) {
          return std::holds_alternative<proto::FirstStep>(e.event);
        }) == 1);
  job.end(k1, 3);
  CHECK_FALSE(job.state().last_failure->before_first_step);
}

TEST_CASE("life: ranks that say they hang fail the attempt with what each of them said") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1), b = cluster.connect("b", 1);
  const auto id = cluster.submit(2, 1);
  cluster.reserve(*a);
  cluster.start(*a, id, k1, 0);
  cluster.start(*b, id, k1, 1);
  const std::string both =
      "the ranks hang: rank 1 stands at step 41 outside any collective, the last was allreduce #82; rank 0 "
      "waits in allreduce #83 for 30 s, after step 41";
  cluster.dispatcher.agent_says(*a, diagnosis(id, 0, 41, true));
  CHECK(cluster.phase(id) == JobPhase::kRunning);
  /// A rank says in which of the job's collectives it is.
  const auto answers = [&](test::FakeAgent& agent, int rank, std::int64_t started, const char* state) {
    proto::RankDebug answer{{id, k1, rank}, agent.all<proto::DebugRanks>().back().request, {}, {}};
    answer.snapshot.groups = {{"0", "job", {0, 1}, started}};
    proto::Flight flight;
    flight.group = "0";
    flight.seq = started;
    flight.operation = "all_reduce";
    flight.state = state;
    flight.age_s = 30;
    answer.snapshot.flights = {flight};
    cluster.dispatcher.agent_says(agent, answer);
  };
  SECTION("all have spoken, and their recorders name the rank that is behind") {
    cluster.dispatcher.agent_says(*b, diagnosis(id, 1, 41, false));
    CHECK(cluster.phase(id) == JobPhase::kRunning);  // until they have said where they are
    CHECK(a->all<proto::DebugRanks>().back().ranks == std::vector<int>{0});
    answers(*a, 0, 83, "waiting");
    CHECK(cluster.phase(id) == JobPhase::kRunning);
    cluster.dispatcher.agent_says(*a, diagnosis(id, 0, 41, true));  // again, before the last answer
    CHECK(cluster.phase(id) == JobPhase::kRunning);
    answers(*b, 1, 82, "finished");
    CHECK(cluster.phase(id) == JobPhase::kStopping);
    CHECK(cluster.state(id).error->message ==
          both +
              "; rank 1 has not come to all_reduce #83, where rank 0 waits for 30 s: it is outside of any "
              "collective, its last was all_reduce #82");
    CHECK(cluster.state(id).error->rank == 1);
    CHECK(a->all<proto::StopAttempt>().size() == 1);
    const auto kept = cluster.dispatcher.debugging().look(cluster.state(id));
    REQUIRE(kept.has_value());
    CHECK(kept->reason == "hang");
    CHECK(kept->culprit == 1);
    // The next head has it, too.
    test::Cluster next(cluster.store, cluster.store->recover());
    const auto again = next.dispatcher.debugging().look(next.state(id));
    REQUIRE(again.has_value());
    CHECK(again->verdict == kept->verdict);
    CHECK(again->ranks.at(0).snapshot->flights.at(0).seq == 83);
  }
  SECTION("all have spoken, and none answers where it is") {
    cluster.dispatcher.agent_says(*b, diagnosis(id, 1, 41, false));
    cluster.pass(4.9);
    cluster.dispatcher.tick();
    CHECK(cluster.phase(id) == JobPhase::kRunning);
    cluster.pass(0.2);
    cluster.dispatcher.tick();
    CHECK(cluster.phase(id) == JobPhase::kStopping);
    const auto& error = *cluster.state(id).error;
    CHECK(error.kind == "hang");
    CHECK(error.message == both);
    CHECK(error.rank == 1);
    CHECK(error.node == "b");
    CHECK(cluster.state(id).failure_class == proto::FailureClass::kInfrastructure);
    CHECK(a->all<proto::StopAttempt>().size() == 1);
    CHECK(b->all<proto::StopAttempt>().size() == 1);
    cluster.end(*a, id, k1, 0, 143);
    cluster.end(*b, id, k1, 1, 143);
    CHECK(cluster.phase(id) == JobPhase::kStarting);
    CHECK(cluster.state(id).failures == 1);
  }
  SECTION("one says nothing within 2 s") {
    cluster.pass(1.9);
    cluster.dispatcher.tick();
    CHECK(cluster.phase(id) == JobPhase::kRunning);
    cluster.pass(0.2);
    cluster.dispatcher.tick();
    cluster.pass(5.1);
    cluster.dispatcher.tick();
    CHECK(cluster.phase(id) == JobPhase::kStopping);
    CHECK(cluster.state(id).error->message ==
          "the ranks hang: rank 1 says nothing; rank 0 waits in allreduce #83 for 30 s, after step 41");
  }
  SECTION("it goes on after all") {
    cluster.pass(1);
    cluster.dispatcher.agent_says(*a, step(id, k1, 41));  // no news
    cluster.dispatcher.agent_says(*a, step(id, k1, 42));
    cluster.pass(2);
    cluster.dispatcher.tick();
    CHECK(cluster.phase(id) == JobPhase::kRunning);
  }
  SECTION("the other one has ended well") {
    cluster.end(*b, id, k1, 1, 0);
    cluster.pass(2.1);
    cluster.dispatcher.tick();
    cluster.pass(5.1);
    cluster.dispatcher.tick();
    CHECK(cluster.state(id).error->message ==
          "the ranks hang: rank 0 waits in allreduce #83 for 30 s, after step 41");
  }
  SECTION("the attempt is being stopped when the time comes") {
    REQUIRE(cluster.dispatcher.commands().cancel(id, "ann").has_value());
    cluster.pass(2.1);
    cluster.dispatcher.tick();
    CHECK_FALSE(cluster.state(id).error.has_value());
  }
}

TEST_CASE("life: a node on which two jobs were lost is suspected and taken last") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 2);
  for (int i = 0; i < 2; ++i) {
    const auto id = cluster.submit(1);
    cluster.reserve(*a);
    cluster.start(*a, id, k1, 0);
    proto::RankEnded end;
    end.key = {id, k1, 0};
    end.status.lost = true;
    end.error =
        proto::RankError{"lost", "its supervisor (keeper) died and left no record of how it ended", {}};
    cluster.dispatcher.agent_says(*a, end);
    CHECK(cluster.phase(id) == JobPhase::kFailed);
  }
  const auto& node = cluster.dispatcher.nodes().all().at("a");
  CHECK(node.view.suspicion > 1);
  CHECK(cluster.dispatcher.nodes()
            .suspicion_reason(node, cluster.now)
            .starts_with("infrastructure failures of 2 jobs within the last hour"));
  auto b = cluster.connect("b", 2);
  CHECK(cluster.state(cluster.submit(1)).ranks[0].placement.node == "b");
  cluster.pass(3601);
  cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
  cluster.dispatcher.tick();
  CHECK(node.view.suspicion == 0);
}

TEST_CASE("life: a head that starts again knows the limits, graces and waits of before") {
  auto disk = std::make_shared<store::MemoryStore>();
  JobId waiting, limited, yielding;
  {
    test::Cluster before(disk, {});
    auto a = before.connect("a", 3);
    limited = before.submit(1, 0, [](proto::JobSpec& spec) { spec.scheduling.time_limit_s = 60; });
    before.reserve(*a);
    before.start(*a, limited, k1, 0);
    yielding = before.submit(1);
    before.reserve(*a);
    before.start(*a, yielding, k1, 0);
    REQUIRE(before.dispatcher.commands()
                .yield(yielding, proto::YieldCause::kDrain, "node a is drained", 20)
                .has_value());
    waiting = before.submit(1, -1);
    for (const auto attempt : {k1, k2}) {
      before.reserve(*a);
      before.start(*a, waiting, attempt, 0);
      before.end(*a, waiting, attempt, 0, 3);
    }
    REQUIRE(before.phase(waiting) == JobPhase::kQueued);
  }
  test::Cluster after(disk, disk->recover());
  auto a = after.connect("a", 3, {{limited, k1, 0}, {yielding, k1, 0}});
  CHECK(after.phase(waiting) == JobPhase::kQueued);
  REQUIRE(a->all<proto::YieldAttempt>().size() == 1);
  const auto pass = [&](double seconds) {
    after.pass(seconds);
    after.dispatcher.agent_says(*a, proto::Heartbeat{});
    after.dispatcher.tick();
  };
  pass(1.1);
  CHECK(after.phase(waiting) == JobPhase::kStarting);
  for (int i = 0; i < 20; ++i) pass(1);
  REQUIRE(a->all<proto::StopAttempt>().size() == 1);
  CHECK(a->all<proto::StopAttempt>()[0].job == yielding);
  for (int i = 0; i < 40; ++i) pass(1);
  CHECK(after.phase(limited) == JobPhase::kStopping);
}

}  // namespace attempt_life_test
