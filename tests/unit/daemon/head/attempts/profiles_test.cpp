// Which jobs can be profiled, what goes to the agents, and what becomes of the answers.
#include "daemon/head/attempts/profiles.h"

#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace profiles_test {

using namespace rtrain;
using head::ProfileRequest;

namespace {

constexpr Attempt k1(1);

/// A job of a training function with `ranks` ranks on node a, running.
struct Running {
  test::Cluster cluster;
  std::shared_ptr<test::FakeAgent> a = cluster.connect("a", 4);
  JobId id;
  explicit Running(int ranks = 2, bool train_func = true)
      : id(cluster.submit(ranks, 0, [&](proto::JobSpec& spec) {
          if (!train_func) return;
          spec.command.clear();
          spec.train_func = proto::TrainFunc{"/x/lib.so", "f"};
        })) {
    if (!a->all<proto::ReservePort>().empty()) cluster.reserve(*a);
    for (int rank = 0; rank < ranks; ++rank) cluster.start(*a, id, k1, rank);
  }
  auto profile(ProfileRequest request = {}) { return cluster.dispatcher.profiling().ask(id, request, "ann"); }
  proto::ProfileDoc look() { return *cluster.dispatcher.profiling().look(id); }
  void answer(int rank, std::int64_t steps, const std::string& trace, const std::string& error = {}) {
    const auto number = a->all<proto::ProfileRanks>().back().request;
    cluster.dispatcher.agent_says(*a, proto::RankProfile{{id, k1, rank}, number, steps, trace, error});
  }
};

}  // namespace

TEST_CASE("profiles: the ranks that are named are asked, and their answers make the document") {
  Running job;
  const auto begun = job.profile({.steps = 5, .ranks = {}, .timeout_s = 60});
  REQUIRE(begun.has_value());
  CHECK(begun->state == "recording");
  const auto asked = job.a->all<proto::ProfileRanks>();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].ranks == std::vector<int>{0, 1});
  CHECK(asked[0].steps == 5);
  CHECK(asked[0].timeout_s == Approx(60));
  job.answer(0, 5, "/r/0.json");
  CHECK(job.look().state == "recording");
  job.answer(1, 3, "/r/1.json", "the fit ended");
  const auto doc = job.look();
  CHECK(doc.state == "done");
  REQUIRE(doc.ranks.size() == 2);
  CHECK(doc.ranks[0].trace == "/r/0.json");
  CHECK(doc.ranks[0].node == "a");
  CHECK(doc.ranks[1].steps == 3);
  CHECK(doc.ranks[1].error == "the fit ended");
}

TEST_CASE("profiles: one at a time; the answers of an older one change nothing") {
  Running job;
  REQUIRE(job.profile({.ranks = {0}}).has_value());
  const auto first = job.a->all<proto::ProfileRanks>().back().request;
  const auto again = job.profile({.ranks = {1}});
  REQUIRE(!again);
  CHECK(again.error().code() == Errc::kConflict);
  CHECK(again.error().message() == "job 1 is being profiled already (rank 0)");
  job.answer(0, 0, "", "no training batch began in time");
  CHECK(job.look().state == "failed");
  REQUIRE(job.profile({.ranks = {0}}).has_value());
  CHECK(job.a->all<proto::ProfileRanks>().back().request > first);
  job.cluster.dispatcher.agent_says(*job.a,
                                    proto::RankProfile{{job.id, k1, 0}, first, 20, "/r/old.json", ""});
  CHECK(job.look().state == "recording");
}

TEST_CASE("profiles: a job that does not run, a command, a rank that is not there: refused by name") {
  Running command(1, false);
  CHECK(command.profile().error().message() ==
        "job 1 runs a command: only the Trainer of a train_func job can be asked for a profile");
  Running job;
  CHECK(job.profile({.ranks = {0, 7}}).error().code() == Errc::kNotFound);
  CHECK(job.profile({.ranks = {0, 7}}).error().message() == "job 1 has no rank 7, it has 2");
  const auto waits = job.cluster.submit(9);
  const auto refused = job.cluster.dispatcher.profiling().ask(waits, {}, "ann");
  CHECK(refused.error().message() == "job 2 is QUEUED: only a RUNNING job can be profiled");
  CHECK(job.cluster.dispatcher.profiling().ask(JobId(99), {}, "ann").error().code() == Errc::kNotFound);
  CHECK(job.cluster.dispatcher.profiling().look(job.id).error().code() ==
        Errc::kNotFound);  // none was asked for
  CHECK(job.a->all<proto::ProfileRanks>().empty());
}

TEST_CASE("profiles: a rank that ended or does not answer in time has failed") {
  Running job;
  REQUIRE(job.profile({.ranks = {0, 1}, .timeout_s = 60}).has_value());
  job.answer(0, 20, "/r/0.json");
  SECTION("ended") {
    job.cluster.end(*job.a, job.id, k1, 1);
    CHECK(job.look().ranks[1].error == "the rank ended before it had answered");
    CHECK(job.profile({.ranks = {1}}).error().message() == "rank 1 of job 1 has ended");
  }
  SECTION("silent") {
    job.cluster.pass(89);
    CHECK(job.look().state == "recording");
    job.cluster.pass(2);
    CHECK(job.look().ranks[1].error.starts_with("the rank did not answer in time"));
  }
  CHECK(job.look().state == "failed");
  CHECK(job.look().ranks[0].state == "done");
}

TEST_CASE("profiles: the agent of the rank's node is away") {
  Running job;
  job.cluster.dispatcher.agent_left(*job.a);
  const auto doc = job.profile({.ranks = {0}});
  REQUIRE(doc.has_value());
  CHECK(doc->state == "failed");
  CHECK(doc->ranks[0].error == "node a is not connected");
}

}  // namespace profiles_test
