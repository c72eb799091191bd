#include "daemon/core/suspicion.h"

#include "daemon/core/job.h"
#include "tests/support/catch.h"
#include "tests/support/jobs.h"

namespace suspicion_test {

using namespace rtrain;
using namespace rtrain::core;
using namespace rtrain::test;

namespace {

constexpr std::int64_t kMinute = 60'000;

proto::AttemptFailed failed(const std::string& kind, const std::string& message, proto::ExitStatus status,
                            proto::FailureClass failure_class) {
  return {Attempt(1), {kind, message, 1, "b", 1, status, {}}, true, "", failure_class, true, 0};
}

}  // namespace

TEST_CASE("suspicion: failures of different jobs make a node suspected, one job never does") {
  Incidents incidents;
  CHECK(incidents.suspicion(0) == 0);
  for (int i = 0; i < 5; ++i) incidents.add(JobId(1), i * kMinute, "was lost");
  CHECK(incidents.suspicion(5 * kMinute) == 0);
  CHECK(incidents.reason(5 * kMinute).empty());
  incidents.add(JobId(2), 5 * kMinute, "rank 0 on node b: was killed by signal 9 (Killed)");
  CHECK(incidents.suspicion(5 * kMinute) > 1);
  CHECK(incidents.reason(9 * kMinute) ==
        "infrastructure failures of 2 jobs within the last hour, the newest 4 min ago: job 2: rank 0 on node "
        "b: was killed by signal 9 (Killed)");
}

TEST_CASE("suspicion: it halves every ten minutes and ends with the window") {
  Incidents incidents;
  incidents.add(JobId(1), 0, "x");
  incidents.add(JobId(2), 0, "x");
  CHECK(incidents.suspicion(0) == Approx(2));
  CHECK(incidents.suspicion(10 * kMinute) == Approx(1));
  CHECK(incidents.suspicion(30 * kMinute) == Approx(0.25));
  CHECK(incidents.suspicion(60 * kMinute) == 0);
  incidents.add(JobId(3), 61 * kMinute, "x");
  CHECK(incidents.suspicion(61 * kMinute) == 0);  // the others are forgotten
}

TEST_CASE("suspicion: what speaks against a node") {
  using proto::FailureClass;
  const proto::ExitStatus lost{std::nullopt, std::nullopt, true}, killed{std::nullopt, 9, false},
      code{1, std::nullopt, false};
  CHECK(blames_node(failed("lost", "was lost", lost, FailureClass::kInfrastructure)));
  CHECK_FALSE(blames_node(failed("signal", "killed", killed, FailureClass::kInfrastructure)));
  CHECK_FALSE(
      blames_node(failed("oom", "was killed by the kernel: out of memory", killed, FailureClass::kUser)));
  CHECK_FALSE(
      blames_node(failed("exec", "cannot start x: Argument list too long", code, FailureClass::kUser)));
  CHECK(blames_node(failed("exception", "CUDA error: uncorrectable ECC error encountered", code,
                           FailureClass::kInfrastructure)));
  CHECK_FALSE(
      blames_node(failed("exception", "Connection closed by peer", code, FailureClass::kInfrastructure)));
  CHECK_FALSE(blames_node(failed("timeout", "the ranks did not meet", code, FailureClass::kInfrastructure)));
  CHECK_FALSE(blames_node(failed("exception", "loss is NaN", code, FailureClass::kUser)));
  auto nowhere = failed("hang", "rank 1 stands", {}, FailureClass::kInfrastructure);
  nowhere.error.node.clear();
  CHECK_FALSE(blames_node(nowhere));
}

TEST_CASE("suspicion: the failure of an attempt names the node") {
  auto state = submitted(JobId(7), 1, proto::JobSubmitted{command_spec(2, 1), "r", "/r", "", {}});
  for (const auto& event : {placed(1, 2), forked(1, 0), forked(1, 1), lost(1, 1)})
    REQUIRE(advance(state, {1, event}).has_value());
  const auto due = follow_up(state);
  REQUIRE(due.has_value());
  REQUIRE(advance(state, {1, *due}).has_value());
  const auto effects = actions(JobPhase::kStarting, state, *due);
  REQUIRE(effects.size() == 2);
  CHECK(std::get<BlameNode>(effects[0]).node == "n1");
  CHECK(std::get<BlameNode>(effects[0]).why == "rank 1 on node n1: the node went away");
  CHECK(std::holds_alternative<StopRanks>(effects[1]));
}

TEST_CASE("suspicion: others are preferred, but a suspected node is better than none") {
  auto bad = node("a", 4), good = node("b", 4);
  bad.suspicion = 1.5;
  proto::ScalingConfig scaling;
  scaling.num_workers = 2;
  CHECK(place(scaling, {bad, good}).ranks[0].node == "b");
  scaling.num_workers = 6;
  CHECK(place(scaling, {bad, good}).placed());
  scaling.num_workers = 2;
  CHECK(place(scaling, {bad}).placed());
}

}  // namespace suspicion_test
