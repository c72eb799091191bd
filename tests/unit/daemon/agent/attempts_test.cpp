#include "daemon/agent/attempts.h"

#include "proto/record/rank_files.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <boost/asio/io_context.hpp>

#include <unistd.h>

namespace attempts_test {

using namespace rtrain;
using namespace rtrain::agent;

namespace {

/// Attempts with a supervisor that is never started: what is sent to it waits.
struct Node {
  boost::asio::io_context io;
  test::TempDir dir;
  std::vector<proto::Message> told;
  std::vector<Quarantine::Entry> stuck;
  std::vector<os::GpuProcess> on_gpus;
  std::vector<std::vector<int>> asked;
  SupervisorProcess supervisor{
      io.get_executor(), {"keeper", "none", "none", "secret"}, {[](const os::ProcessIdentity&) {}, [] {}}};
  Attempts attempts{{dir.path().string(), "socket",
                     [this](proto::Message message) {
                       told.push_back(std::move(message));
                       return static_cast<std::int64_t>(told.size());
                     },
                     [this](bool) -> Result<SupervisorProcess*> { return &supervisor; },
                     [] { return NodeFacts{}; }, "", 30, 0,
                     [this](const std::vector<int>& gpus) {
                       asked.push_back(gpus);
                       return on_gpus;
                     },
                     [this](Quarantine::Entry entry) {
                       stuck.push_back(std::move(entry));
                       told.emplace_back(proto::NodeHealth{});  // as the agent does
                     }}};

  static proto::RankKey key(int job, int rank = 0) { return {JobId(job), Attempt(1), rank}; }
  void launch(int job, std::vector<int> gpus, int ranks = 1) {
    proto::Launch launch;
    launch.job = JobId(job);
    launch.attempt = Attempt(1);
    launch.spec.name = "x";
    launch.spec.command = {"true"};
    launch.world_size = ranks;
    for (int rank = 0; rank < ranks; ++rank) launch.ranks.push_back({rank, "a", 0, rank, gpus});
    attempts.launch(launch);
  }
  /// The rank is a process now: this one.
  void started(int job, int rank = 0) {
    REQUIRE(supervisor.withdraw(key(job, rank)));
    attempts.spawned({key(job, rank), ::getpid(), ""});
  }
  template <class T>
  std::vector<T> all() const {
    std::vector<T> found;
    for (const auto& message : told)
      if (const auto* wanted = std::get_if<T>(&message)) found.push_back(*wanted);
    return found;
  }
};

}  // namespace

TEST_CASE("attempts: a process that was on a GPU before the jobs is not waited for") {
  Node node;
  node.on_gpus = {{0, 4711, 1 << 30}};
  node.launch(1, {0});
  CHECK(node.supervisor.holds(Node::key(1)));
  node.started(1);
  node.attempts.ended({Node::key(1), proto::ExitStatus{0, {}, false}, 0});
  node.launch(2, {0});
  CHECK(node.supervisor.holds(Node::key(2)));
}

TEST_CASE("attempts: a GPU that a process of an ended job still uses is waited for") {
  Node node;
  node.launch(7, {1});
  node.started(7);
  node.attempts.ended({Node::key(7), proto::ExitStatus{0, {}, false}, 0});
  node.told.clear();
  node.asked.clear();
  node.on_gpus = {{1, 4711, 1 << 30}};
  node.launch(1, {1, 3});
  CHECK(node.asked == std::vector<std::vector<int>>{{1, 3}});
  CHECK_FALSE(node.supervisor.holds(Node::key(1)));
  node.attempts.tick();
  CHECK_FALSE(node.supervisor.holds(Node::key(1)));
  // Its supervisor comes, or another one takes its place: the rank was not handed to any.
  const auto waits = [](const proto::RankKey&) { return false; };
  node.attempts.supervisor_joined(false, {}, waits);
  node.attempts.supervisor_died(false, waits);
  CHECK_FALSE(node.supervisor.holds(Node::key(1)));
  CHECK(node.all<proto::RankEnded>().empty());
  SECTION("and when it is asked to yield, it makes way at once") {
    node.attempts.yield({JobId(1), Attempt(1), 30, "drain"});
    REQUIRE(node.all<proto::RankEnded>().size() == 1);
    CHECK(node.all<proto::RankEnded>()[0].status.lost);
  }
  SECTION("and when it is told to stop, it ends without having been") {
    node.attempts.stop(JobId(1), Attempt(1), 0, "cancelled");
    REQUIRE(node.all<proto::RankEnded>().size() == 1);
    CHECK(node.all<proto::RankEnded>()[0].status.lost);
    CHECK(node.all<proto::RankEnded>()[0].error->message == "was never started: cancelled");
    CHECK(node.attempts.empty());
  }
}

TEST_CASE("attempts: ranks that share a GPU are no intruders on it") {
  Node node;
  node.launch(1, {0});
  CHECK(node.supervisor.holds(Node::key(1)));
  node.on_gpus = {{0, 4711, 0}};
  node.launch(2, {0});
  CHECK(node.supervisor.holds(Node::key(2)));
  node.launch(3, {});
  CHECK(node.supervisor.holds(Node::key(3)));
  CHECK(node.asked == std::vector<std::vector<int>>{{0}});
}

TEST_CASE("attempts: a rank that does not end is given up after its GPUs are quarantined") {
  Node node;
  node.launch(1, {2});
  node.started(1);
  node.attempts.ended({Node::key(1), proto::ExitStatus{{}, {}, true}, ::getpid()});
  REQUIRE(node.stuck.size() == 1);
  CHECK(node.stuck[0].gpus == std::vector<int>{2});
  CHECK(node.stuck[0].process == *os::identify(::getpid()));
  REQUIRE(node.all<proto::RankEnded>().size() == 1);
  const auto end = node.all<proto::RankEnded>()[0];
  CHECK(end.status.lost);
  CHECK(end.error->kind == "unkillable");
  CHECK(end.error->message.find("process " + std::to_string(::getpid()) +
                                " does not end: SIGKILL was sent 30 s ago (state R") == 0);
  CHECK(end.error->message.find("; its GPUs are quarantined until it has gone") != std::string::npos);
  // the head hears of the GPUs first
  CHECK(std::holds_alternative<proto::NodeHealth>(node.told[node.told.size() - 2]));
  CHECK(node.attempts.empty());
}

TEST_CASE("attempts: what is left of a rank does not change how the rank ended") {
  Node node;
  node.launch(1, {2});
  node.started(1);
  node.attempts.ended({Node::key(1), proto::ExitStatus{0, {}, false}, ::getpid()});
  CHECK(node.stuck.size() == 1);
  REQUIRE(node.all<proto::RankEnded>().size() == 1);
  CHECK(node.all<proto::RankEnded>()[0].status.success());
}

TEST_CASE("attempts: a command that ends after it was asked to yield has yielded") {
  Node node;
  node.launch(1, {}, 3);
  for (int rank = 0; rank < 3; ++rank) node.started(1, rank);
  node.attempts.ended({Node::key(1, 0), proto::ExitStatus{0, {}, false}, 0});
  node.attempts.yield({JobId(1), Attempt(1), 30, "drain"});
  node.attempts.yield({JobId(9), Attempt(1), 30, "drain"});  // over: ignored
  node.attempts.ended({Node::key(1, 1), proto::ExitStatus{0, {}, false}, 0});
  node.attempts.ended({Node::key(1, 2), proto::ExitStatus{{}, 15, false}, 0});
  const auto ends = node.all<proto::RankEnded>();
  REQUIRE(ends.size() == 3);
  CHECK_FALSE(ends[0].yielded);
  CHECK(ends[1].yielded);
  CHECK(ends[2].yielded);
}

TEST_CASE(
    "attempts: one that does not yield in time is stopped, and has not yielded when it had to be killed") {
  Node node;
  node.launch(1, {});
  node.started(1);
  node.attempts.yield({JobId(1), Attempt(1), 0, "drain of a"});
  node.attempts.tick();
  node.attempts.stop(JobId(1), Attempt(1), 0, "a second reason");  // the grace of 2 s is cut short
  node.attempts.tick();
  node.attempts.ended({Node::key(1), proto::ExitStatus{{}, 9, false}, 0});
  const auto ends = node.all<proto::RankEnded>();
  REQUIRE(ends.size() == 1);
  CHECK_FALSE(ends[0].yielded);
  CHECK(ends[0].error->message.ends_with("(did not yield in time: drain of a)"));
}

TEST_CASE("attempts: the next agent knows that an attempt was asked to yield") {
  Node node;
  node.launch(1, {});
  node.started(1);
  node.attempts.yield({JobId(1), Attempt(1), 30, "drain"});
  const auto found = find_attempts(node.dir.path().string());
  REQUIRE(found.size() == 1);
  CHECK(found[0].yielding);
}

TEST_CASE("attempts: ranks are given up when no supervisor comes to speak", "[F07]") {
  Node node;
  node.launch(1, {}, 2);
  node.started(1, 1);
  REQUIRE(node.supervisor.holds(Node::key(1, 0)));
  node.attempts.supervisor_unusable(false, "the keeper ended 3 times in a row",
                                    [&](const proto::RankKey& key) { return node.supervisor.withdraw(key); });
  const auto ends = node.all<proto::RankEnded>();
  REQUIRE(ends.size() == 1);  // the one that runs goes on
  CHECK(ends[0].key == Node::key(1, 0));
  CHECK(ends[0].error->kind == "spawn");
  CHECK(ends[0].error->message == "the keeper ended 3 times in a row");
  CHECK_FALSE(node.supervisor.holds(Node::key(1, 0)));
}

TEST_CASE("attempts: the pause before the next supervisor grows, to a minute", "[F07]") {
  using namespace std::chrono_literals;
  struct Row {
    int silent_deaths;
    std::chrono::seconds pause;
  };
  for (const auto& row :
       std::vector<Row>{{0, 1s}, {1, 1s}, {2, 2s}, {3, 4s}, {6, 32s}, {7, 60s}, {1000, 60s}}) {
    INFO(row.silent_deaths);
    CHECK(SupervisorProcess::restart_pause(row.silent_deaths) == row.pause);
  }
}

TEST_CASE("attempts: what the supervisor could not read is not sent to it", "[F29]") {
  Node node;
  proto::Launch launch;
  launch.job = JobId(1);
  launch.attempt = Attempt(1);
  launch.spec.command = {"true"};
  launch.spec.env["DATA"] = std::string(5u << 20, 'x');
  launch.ranks.push_back({0, "a", 0, 0, {}});
  node.attempts.launch(launch);
  const auto ends = node.all<proto::RankEnded>();
  REQUIRE(ends.size() == 1);
  CHECK(ends[0].error->kind == "exec");
  CHECK(ends[0].error->message.ends_with(" bytes together; at most 4194304 are passed on"));
  CHECK_FALSE(node.supervisor.holds(Node::key(1)));
}

TEST_CASE("attempts: a supervisor says whose fault it is that a rank is not in its program", "[F29]") {
  Node node;
  node.launch(1, {}, 2);
  for (int rank = 0; rank < 2; ++rank) REQUIRE(node.supervisor.withdraw(Node::key(1, rank)));
  const auto dir = proto::rank_dir(node.dir.path().string(), Node::key(1, 0));
  REQUIRE(
      proto::write_error(dir, {"exec", "enter working_dir /x: No such file or directory", {}}).has_value());
  node.attempts.spawned({Node::key(1, 0), 0, "enter working_dir /x: No such file or directory"});
  node.attempts.spawned({Node::key(1, 1), 0, "fork: Cannot allocate memory"});
  const auto ends = node.all<proto::RankEnded>();
  REQUIRE(ends.size() == 2);
  CHECK(ends[0].error->kind == "exec");
  CHECK(ends[1].error->kind == "spawn");
}

}  // namespace attempts_test
