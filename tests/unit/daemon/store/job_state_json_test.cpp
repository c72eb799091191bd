#include "daemon/store/job_state_json.h"

#include "tests/support/catch.h"
#include "tests/support/jobs.h"

namespace job_state_json_test {

using namespace rtrain;

namespace {

/// Every member has a value that is not its default.
core::JobState full() {
  core::JobState s;
  s.id = JobId(7);
  s.spec = test::command_spec(3, 2);
  s.run_name = "run";
  s.run_dir = "/runs/run";
  s.user = "ada";
  s.array = proto::ArrayTask{JobId(5), 2, 10, 3};
  s.submission = "key";
  s.phase = core::JobPhase::kStopping;
  s.submitted_ms = 1;
  s.started_ms = 2;
  s.ended_ms = 3;
  s.placed_ms = 4;
  s.updated_ms = 5;
  s.not_before_ms = 6;
  s.held = true;
  s.held_by = "bob";
  s.paused = true;
  s.attempt = Attempt(11);
  core::RankState rank;
  rank.placement = {1, "n1", 2, 3, {4, 5}};
  rank.phase = core::RankPhase::kEnded;
  rank.pid = 99;
  rank.status.signal = 9;
  rank.started = true;
  rank.yielded = true;
  s.ranks = {rank};
  s.nodes = {{Attempt(9), {"a", "b"}}, {Attempt(11), {"c"}}};
  s.failures = 1;
  s.controller_failures = 2;
  s.preemptions = 3;
  s.failures_by_class = {{"user", {{"exit", 2}}}, {"infrastructure", {{"lost", 1}}}};
  s.made_before = 40;
  s.drains = 4;
  s.resizes = 5;
  s.failed_in_row = 6;
  s.last_failure = core::PastFailure{proto::FailureClass::kInfrastructure, "signal", "killed", true};
  s.first_step = true;
  s.yield = core::Yield{proto::YieldCause::kResize, "room", 2.5, false, false};
  s.last_seq = 12;
  s.metrics = {{"loss", 0.5}};
  s.reports = 13;
  s.checkpoints = {{"/c/1", 1, {{"loss", 1.0}}}};
  s.next_checkpoint_index = 2;
  s.return_value = {1, 2};
  s.error = proto::JobError{"signal", "rank 1", 1, "n1", 11, rank.status, {"last words"}};
  s.verdict = "no retry";
  s.failure_class = proto::FailureClass::kPreemption;
  s.retry = true;
  s.failed_rank = 1;
  s.failed_rank_error = proto::RankError{"signal", "killed", {"x"}};
  s.cancel_requested = true;
  s.cancelled_by = "eve";
  s.validates = proto::ValidatedCheckpoint{JobId(3), 2, "/runs/job_3/checkpoint_000002"};
  s.sweep = proto::SweepTrial{JobId(7), 12};
  s.checkpoints.front().validation =
      proto::CheckpointValidation{proto::ValidationStatus::kFailed, {{"folds", 3}}, 60, JobId(8), "no good"};
  return s;
}

}  // namespace

TEST_CASE("job state: every member comes back from JSON") {
  const auto before = store::to_json(full());
  // Nothing in it is what a fresh state has: a member that were not read would show.
  const auto fresh = store::to_json(core::JobState{});
  for (const auto& [name, value] : before.items()) {
    INFO(name);
    CHECK(value != fresh[name]);
  }
  CHECK(before.size() == fresh.size());
  const auto text = proto::dump_json(before);
  const auto back = store::job_state_from_json(*proto::parse_json(text));
  REQUIRE(back.has_value());
  CHECK(store::to_json(*back) == before);
  CHECK(back->nodes == full().nodes);
  CHECK(back->phase == core::JobPhase::kStopping);
}

TEST_CASE("job state: an older snapshot is readable, a wrong one names the field") {
  auto json = store::to_json(full());
  json.erase("resizes");
  json["unknown"] = 1;
  REQUIRE(store::job_state_from_json(json).has_value());
  json["ranks"][0]["phase"] = "ASLEEP";
  const auto wrong = store::job_state_from_json(json);
  REQUIRE(wrong.has_error());
  CHECK(wrong.error().message().find("job state.ranks[0].phase") != std::string::npos);
}

}  // namespace job_state_json_test
