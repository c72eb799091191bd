// Which jobs can be asked where their ranks are, what goes to the agents, and what becomes of the answers.
#include "daemon/head/attempts/debugs.h"

#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace debugs_test {

using namespace rtrain;
using core::JobPhase;
using head::DebugRequest;

namespace {

constexpr Attempt k1(1);

/// A job with ranks on nodes a and b, running.
struct TwoRanks {
  test::Cluster cluster;
  std::shared_ptr<test::FakeAgent> a = cluster.connect("a", 1), b = cluster.connect("b", 1);
  JobId id = cluster.submit(2);
  TwoRanks() {
    cluster.reserve(*a);
    cluster.start(*a, id, k1, 0);
    cluster.start(*b, id, k1, 1);
  }
  auto debug(const DebugRequest& request = {}) {
    return cluster.dispatcher.debugging().ask(cluster.state(id), request, "ann");
  }
  proto::DebugDoc look() { return *cluster.dispatcher.debugging().look(cluster.state(id)); }
  proto::RankDebug answer(int rank, std::int64_t started, const char* state) const {
    proto::RankDebug answer{{id, k1, rank}, 0, {}, {}};
    answer.snapshot.groups = {{"0", "job", {0, 1}, started}};
    proto::Flight flight;
    flight.group = "0";
    flight.seq = started;
    flight.operation = "all_reduce";
    flight.state = state;
    flight.age_s = 3;
    answer.snapshot.flights = {flight};
    return answer;
  }
  void says(test::FakeAgent& agent, proto::RankDebug answer) {
    answer.request = agent.all<proto::DebugRanks>().back().request;
    cluster.dispatcher.agent_says(agent, answer);
  }
};

}  // namespace

TEST_CASE("debugs: each node is asked for its ranks, and the answers make the document") {
  TwoRanks job;
  const auto begun = job.debug();
  REQUIRE(begun.has_value());
  CHECK(begun->state == "asking");
  CHECK(job.a->all<proto::DebugRanks>().at(0).ranks == std::vector<int>{0});
  CHECK(job.b->all<proto::DebugRanks>().at(0).ranks == std::vector<int>{1});
  job.says(*job.a, job.answer(0, 3, "waiting"));
  job.says(*job.b, job.answer(1, 2, "finished"));
  const auto doc = job.look();
  CHECK(doc.state == "done");
  CHECK(doc.culprit == 1);
  CHECK(doc.ranks.at(0).waits_for == std::vector<int>{1});
  CHECK(doc.ranks.at(0).where == "all_reduce #3");
  CHECK(doc.ranks.at(1).state == "answered");
}

TEST_CASE("debugs: a rank that does not answer is silent when its time is over, and suspected") {
  TwoRanks job;
  REQUIRE(job.debug({.ranks = {}, .timeout_s = 4}).has_value());
  job.says(*job.a, job.answer(0, 3, "waiting"));
  job.cluster.pass(3.9);
  CHECK(job.look().state == "asking");
  job.cluster.pass(0.2);
  const auto doc = job.look();
  CHECK(doc.state == "done");
  CHECK(doc.ranks.at(1).state == "silent");
  CHECK(doc.ranks.at(1).error.starts_with("it did not answer in time"));
  CHECK(doc.culprit == 1);
  // An answer that comes after all changes nothing.
  job.says(*job.b, job.answer(1, 3, "waiting"));
  CHECK(job.look().ranks.at(1).state == "silent");
}

TEST_CASE("debugs: a rank that cannot be asked is unknown, and not blamed") {
  TwoRanks job;
  REQUIRE(job.debug().has_value());
  job.says(*job.a, job.answer(0, 3, "waiting"));
  auto refused = job.answer(1, 0, "started");
  refused.snapshot = {};
  SECTION("its library is older") {
    refused.error = "the rank's library was built with an older rtrain";
    job.says(*job.b, refused);
    const auto doc = job.look();
    CHECK(doc.state == "done");
    CHECK(doc.ranks.at(1).state == "unknown");
    CHECK_FALSE(doc.culprit.has_value());
  }
  SECTION("its process has ended") {
    refused.error = proto::kRankHasEnded;
    job.says(*job.b, refused);
    CHECK(job.look().ranks.at(1).state == "ended");
    CHECK(job.look().culprit == 1);
  }
}

TEST_CASE("debugs: ranks that are named, ranks that are not there, jobs that do not run") {
  TwoRanks job;
  REQUIRE(job.debug({.ranks = {1}, .timeout_s = 4}).has_value());
  CHECK(job.a->all<proto::DebugRanks>().empty());
  CHECK(job.look().ranks.size() == 1);
  CHECK(job.debug({.ranks = {2}, .timeout_s = 4}).error().code() == Errc::kNotFound);
  const auto waiting = job.cluster.submit(2);
  const auto refused = job.cluster.dispatcher.debugging().ask(job.cluster.state(waiting), {}, "ann");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code() == Errc::kConflict);
  CHECK(job.cluster.dispatcher.debugging().look(job.cluster.state(waiting)).error().code() ==
        Errc::kNotFound);
}

TEST_CASE("debugs: a failure asks the other ranks before they are stopped, and what they say is kept") {
  TwoRanks job;
  // The rank that fails says where it was, then ends.
  job.cluster.dispatcher.agent_says(*job.b, job.answer(1, 3, "failed"));
  job.cluster.end(*job.b, job.id, k1, 1, 1);
  CHECK(job.cluster.phase(job.id) == JobPhase::kStopping);
  const auto& heard = job.a->heard;
  const auto asked = std::ranges::find_if(
      heard, [](const auto& message) { return std::holds_alternative<proto::DebugRanks>(message); });
  const auto stopped = std::ranges::find_if(
      heard, [](const auto& message) { return std::holds_alternative<proto::StopAttempt>(message); });
  REQUIRE(asked != heard.end());
  REQUIRE(stopped != heard.end());
  CHECK(asked < stopped);
  job.says(*job.a, job.answer(0, 4, "waiting"));
  job.cluster.end(*job.a, job.id, k1, 0, 143);
  CHECK(job.cluster.phase(job.id) == JobPhase::kFailed);
  const auto doc = job.look();
  CHECK(doc.reason == "failure");
  CHECK(doc.ranks.at(1).state == "ended");
  CHECK(doc.ranks.at(1).snapshot.has_value());
  CHECK(doc.culprit == 1);
  CHECK(doc.verdict.starts_with("rank 1 has ended: rank 0 waits for it in all_reduce #4"));
}

}  // namespace debugs_test
