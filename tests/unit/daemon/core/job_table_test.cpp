// Every event in every phase: where it leads, or that it is refused and changes nothing.
#include "daemon/core/job.h"
#include "tests/support/catch.h"
#include "tests/support/job_after.h"

namespace job_table_test {

using namespace rtrain;
using namespace rtrain::core;
using namespace rtrain::test;
using proto::JobEvent;

namespace {

/// Two workers, one retry. Each event with what follows from it by policy.
JobState after(const std::vector<JobEvent>& events) {
  auto spec = command_spec(2, 1);
  spec.validation.emplace();
  return job_after(std::move(spec), events);
}

std::vector<JobEvent> operator+(std::vector<JobEvent> events, const std::vector<JobEvent>& more) {
  events.insert(events.end(), more.begin(), more.end());
  return events;
}

}  // namespace

TEST_CASE("job: every event in every phase") {
  const std::vector<JobEvent> running{placed(1, 2), forked(1, 0), entered(1, 0), forked(1, 1), entered(1, 1)};
  // The current attempt is 1 except where a job waits for its second.
  const std::vector<std::pair<const char*, std::vector<JobEvent>>> columns{
      {"QUEUED", {}},
      {"held", {hold()}},
      {"STARTING", {placed(1, 2)}},
      {"RUNNING", running},
      {"failing", running + std::vector<JobEvent>{killed(1, 1)}},
      {"yielding", running + std::vector<JobEvent>{yield(1)}},
      {"VALIDATING",
       running + std::vector<JobEvent>{report_to_validate(1, 1, 0), exited(1, 0), exited(1, 1)}},
      {"SUCCEEDED", running + std::vector<JobEvent>{exited(1, 0), exited(1, 1)}},
      {"FAILED", running + std::vector<JobEvent>{time_limit(1), exited(1, 0), exited(1, 1)}},
      {"CANCELLED", {cancel()}},
  };
  struct Row {
    JobEvent event;
    std::vector<const char*> leads_to;
  };
  const char* no = "refused";
  const proto::AttemptFailed failed{Attempt(1),
                                    {"hang", "rank 1 stands", {}, {}, 1, {}, {}},
                                    true,
                                    "restarted",
                                    proto::FailureClass::kInfrastructure,
                                    true,
                                    0};
  const std::vector<Row> rows{
      // event          QUEUED      held        STARTING    RUNNING     failing     yielding    VALIDATING
      // ended
      {placed(1, 2), {"STARTING", no, no, no, no, no, no, no, no, no}},
      {forked(1, 0), {no, no, "STARTING", no, no, no, no, no, no, no}},
      {entered(1, 0), {no, no, "STARTING", no, no, no, no, no, no, no}},
      {first_step(1), {no, no, "STARTING", "RUNNING", "STOPPING", "STOPPING", no, no, no, no}},
      {report(1, 1), {no, no, "STARTING", "RUNNING", "STOPPING", "STOPPING", no, no, no, no}},
      {exited(1, 0), {no, no, "STARTING", "RUNNING", "STOPPING", "STOPPING", no, no, no, no}},
      {yielded(1, 0), {no, no, "STARTING", "RUNNING", "STOPPING", "STOPPING", no, no, no, no}},
      {failed, {no, no, "STOPPING", "STOPPING", no, no, no, no, no, no}},
      {yield(1), {no, no, "STOPPING", "STOPPING", no, no, no, no, no, no}},
      {time_limit(1), {no, no, "STOPPING", "STOPPING", no, no, no, no, no, no}},
      {ended(1), {no, no, no, no, no, no, no, no, no, no}},
      {cancel(),
       {"CANCELLED", "CANCELLED", "STOPPING", "STOPPING", "STOPPING", "STOPPING", "CANCELLED", no, no, no}},
      {hold(), {"QUEUED", no, "STARTING", "RUNNING", "STOPPING", "STOPPING", "VALIDATING", no, no, no}},
      {release(), {no, "QUEUED", no, no, no, no, no, no, no, no}},
      {proto::ValidationStarted{0, JobId(9)}, {no, no, no, no, no, no, "VALIDATING", no, no, no}},
      {validated(0), {no, no, no, no, no, no, "SUCCEEDED", no, no, no}},
  };
  std::set<std::size_t> alternatives{0};  // job_submitted makes a job and is no event of one
  for (const auto& row : rows) {
    alternatives.insert(row.event.index());
    REQUIRE(row.leads_to.size() == columns.size());
    for (std::size_t i = 0; i < columns.size(); ++i) {
      INFO(proto::event_name(row.event) << " in " << columns[i].first);
      auto state = after(columns[i].second);
      const auto phase = state.phase;
      const auto updated = state.updated_ms;
      const auto done = advance(state, {5000, row.event});
      if (row.leads_to[i] == no) {
        REQUIRE(done.has_error());
        CHECK(done.error().code() == Errc::kConflict);
        CHECK(state.phase == phase);
        CHECK(state.updated_ms == updated);
      } else {
        INFO((done.has_value() ? "" : done.error().message()));
        REQUIRE(done.has_value());
        CHECK(to_string(state.phase) == row.leads_to[i]);
        CHECK(state.updated_ms == 5000);
      }
      auto again = after(columns[i].second);
      CHECK(advance(again, {5000, proto::JobSubmitted{}}).has_error());
    }
  }
  CHECK(alternatives.size() == std::variant_size_v<JobEvent>);
}

TEST_CASE("job: an attempt that yields goes back into the queue and has not failed") {
  struct Row {
    const char* name;
    std::vector<JobEvent> events;
    const char* phase;
    int preemptions;
  };
  const std::vector<JobEvent> running{placed(1, 2), entered(1, 0), entered(1, 1)};
  const std::vector<Row> rows{
      {"both yield", {yield(1), yielded(1, 0), yielded(1, 1)}, "QUEUED", 1},
      {"both were through before they heard of it", {yield(1), exited(1, 0), exited(1, 1)}, "SUCCEEDED", 1},
      {"one was through, the other was stopped", {yield(1), exited(1, 0), killed(1, 1)}, "QUEUED", 1},
      {"one fails while it yields", {yield(1), threw(1, 0), yielded(1, 1)}, "QUEUED", 1},
      {"a node is lost while it yields", {yield(1), lost(1, 0), lost(1, 1)}, "QUEUED", 1},
      {"stopped after the grace", {yield(1), killed(1, 0, 15), killed(1, 1, 9)}, "QUEUED", 1},
      {"cancelled while it yields", {yield(1), cancel(), yielded(1, 0), yielded(1, 1)}, "CANCELLED", 1},
      {"preempted too often",
       {yield(1, proto::YieldCause::kPreempted, false), yielded(1, 0), yielded(1, 1)},
       "FAILED",
       1},
      {"preempted too often, but through",
       {yield(1, proto::YieldCause::kPreempted, false), exited(1, 0), exited(1, 1)},
       "SUCCEEDED",
       1},
      {"drained", {yield(1, proto::YieldCause::kDrain), yielded(1, 0), yielded(1, 1)}, "QUEUED", 0},
      {"resized", {yield(1, proto::YieldCause::kResize), yielded(1, 0), yielded(1, 1)}, "QUEUED", 0},
      {"a rank yields of itself", {yielded(1, 0), yielded(1, 1)}, "QUEUED", 0},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    const auto state = after(running + row.events);
    CHECK(to_string(state.phase) == row.phase);
    CHECK(state.preemptions == row.preemptions);
    CHECK(state.failures == 0);
    CHECK(state.failed_in_row == 0);
    CHECK(state.not_before_ms == 0);
  }
  const auto too_often = after(running + rows[7].events);
  CHECK(too_often.error->kind == "preempted");
  CHECK(too_often.error->message == "job 9 needs its place");
  CHECK(too_often.failure_class == proto::FailureClass::kPreemption);
  CHECK(after(running + rows[9].events).drains == 1);
  CHECK(after(running + rows[10].events).resizes == 1);
  // The next attempt knows nothing of it.
  const auto next =
      after(running + rows[0].events + std::vector<JobEvent>{placed(2, 2), exited(2, 0), exited(2, 1)});
  CHECK(next.phase == JobPhase::kSucceeded);
  CHECK_FALSE(next.yield.has_value());
}

TEST_CASE("job: a trial that is paused is held by the event that makes it yield") {
  const std::vector<JobEvent> running{placed(1, 2), entered(1, 0), entered(1, 1)};
  const auto pause = yield(1, proto::YieldCause::kPaused);
  const JobEvent let_go = proto::JobReleased{"sweep 3", true};
  auto state = after(running + std::vector<JobEvent>{pause});
  CHECK(state.phase == JobPhase::kStopping);
  CHECK(state.paused);
  state = after(running + std::vector<JobEvent>{pause, yielded(1, 0), yielded(1, 1)});
  CHECK(state.phase == JobPhase::kQueued);
  REQUIRE(state.paused);
  CHECK(state.preemptions + state.drains + state.resizes == 0);
  CHECK(advance(state, {5000, placed(2, 2)}).error().code() == Errc::kConflict);
  REQUIRE(advance(state, {5000, let_go}).has_value());
  CHECK(advance(state, {5000, placed(2, 2)}).has_value());
  // Released while it still yields: it goes back into the queue like any other.
  state = after(running + std::vector<JobEvent>{pause, let_go, yielded(1, 0), yielded(1, 1)});
  CHECK(state.phase == JobPhase::kQueued);
  CHECK_FALSE(state.paused);
  // Through before it heard of it.
  state = after(running + std::vector<JobEvent>{pause, exited(1, 0), exited(1, 1)});
  CHECK(state.phase == JobPhase::kSucceeded);
  CHECK_FALSE(state.paused);
}

TEST_CASE("job: a user and a sweep hold a job each for itself") {
  const std::vector<JobEvent> running{placed(1, 2), entered(1, 0), entered(1, 1)};
  const JobEvent pause = proto::JobHeld{"sweep 3", true}, let_go = proto::JobReleased{"sweep 3", true};
  const std::vector<JobEvent> back{yield(1, proto::YieldCause::kPaused), yielded(1, 0), yielded(1, 1)};
  // The user's hold outlives the promotion ...
  auto state = after(running + std::vector<JobEvent>{hold("ann")} + back);
  CHECK(holders_of(state) == "ann and its sweep");
  REQUIRE(advance(state, {5000, let_go}).has_value());
  CHECK(actions(JobPhase::kQueued, state, let_go).empty());
  CHECK(holders_of(state) == "ann");
  CHECK(advance(state, {5000, placed(2, 2)}).error().code() == Errc::kConflict);
  REQUIRE(advance(state, {5000, release()}).has_value());
  CHECK(holders_of(state).empty());
  CHECK(advance(state, {5000, placed(2, 2)}).has_value());
  // ... and the pause outlives the user's release.
  state = after({hold("ann"), pause, release()});
  CHECK(state.paused);
  CHECK(advance(state, {5000, placed(1, 2)}).error().message() ==
        "attempt_placed: job " + name_of(state) + " is held by its sweep");
  CHECK(advance(state, {5000, pause}).error().code() == Errc::kConflict);
  REQUIRE(advance(state, {5000, let_go}).has_value());
  CHECK(advance(state, {5000, let_go}).error().code() == Errc::kConflict);
  CHECK(std::holds_alternative<EnterQueue>(actions(JobPhase::kQueued, state, let_go).at(0)));
}

TEST_CASE("job: a trial that is pruned ends as cancelled, with the reason") {
  const std::vector<JobEvent> running{placed(1, 2), entered(1, 0), entered(1, 1)};
  const proto::YieldRequested prune{
      Attempt(1), proto::YieldCause::kPruned, "rank 5 of 9 at rung 2", 20, false, false};
  auto state = after(running + std::vector<JobEvent>{prune});
  CHECK(state.phase == JobPhase::kStopping);
  const auto due = actions(JobPhase::kRunning, state, prune);
  REQUIRE(due.size() == 1);
  CHECK(std::get<StopRanks>(due[0]).grace_s == 20);
  CHECK(std::get<StopRanks>(due[0]).reason == "rank 5 of 9 at rung 2");
  auto with_checkpoint = prune;
  with_checkpoint.checkpoint = true;
  CHECK(std::holds_alternative<YieldRanks>(actions(JobPhase::kRunning, state, with_checkpoint).at(0)));

  state = after(running + std::vector<JobEvent>{prune, killed(1, 0, 15), killed(1, 1, 15)});
  CHECK(state.phase == JobPhase::kCancelled);
  CHECK(state.verdict == "pruned: rank 5 of 9 at rung 2");
  CHECK_FALSE(state.error.has_value());
  CHECK(state.failures == 0);
  // A program may end with 0 when it is stopped; one that was asked for a checkpoint was through before.
  state = after(running + std::vector<JobEvent>{prune, exited(1, 0), exited(1, 1)});
  CHECK(state.phase == JobPhase::kCancelled);
  state = after(running + std::vector<JobEvent>{with_checkpoint, exited(1, 0), exited(1, 1)});
  CHECK(state.phase == JobPhase::kSucceeded);
}

TEST_CASE("job: what ends or pauses a trial depends on whether its attempt goes on") {
  const std::vector<JobEvent> running{placed(1, 2), entered(1, 0), entered(1, 1)};
  auto live = after(running);
  live.sweep = proto::SweepTrial{JobId(3), 4};
  const auto prune = std::get<proto::YieldRequested>(trial_stopped(live, "worst", false));
  CHECK(prune.cause == proto::YieldCause::kPruned);
  CHECK_FALSE(prune.retry);
  CHECK_FALSE(prune.checkpoint);
  CHECK(prune.grace_s == live.spec->run_config.stop_grace_s);
  const auto pause = std::get<proto::YieldRequested>(trial_paused(live, "rung 0"));
  CHECK(pause.cause == proto::YieldCause::kPaused);
  CHECK(pause.retry);
  CHECK(pause.checkpoint);
  auto waits = after({});
  waits.sweep = live.sweep;
  CHECK(std::get<proto::CancelRequested>(trial_stopped(waits, "worst", false)).by == "sweep 3: worst");
  CHECK(std::get<proto::JobHeld>(trial_paused(waits, "rung 0")).by == "sweep 3");
  REQUIRE(advance(waits, {5000, trial_paused(waits, "rung 0")}).has_value());
  CHECK(waits.paused);
  CHECK_FALSE(after({hold()}).paused);
}

TEST_CASE("job: what a yield, a time limit and a release make happen") {
  const std::vector<JobEvent> running{placed(1, 2), entered(1, 0), entered(1, 1)};
  auto state = after(running + std::vector<JobEvent>{yield(1)});
  auto due = actions(JobPhase::kRunning, state, yield(1));
  REQUIRE(due.size() == 1);
  const auto& asked = std::get<YieldRanks>(due[0]);
  CHECK(asked.attempt == Attempt(1));
  CHECK(asked.grace_s == 20);
  CHECK(asked.reason == "job 9 needs its place");

  state = after(running + std::vector<JobEvent>{time_limit(1, 90)});
  due = actions(JobPhase::kRunning, state, time_limit(1, 90));
  REQUIRE(due.size() == 1);
  const auto& stop = std::get<StopRanks>(due[0]);
  CHECK(stop.grace_s == state.spec->run_config.stop_grace_s);
  CHECK(stop.reason == "ran into its time limit of 90 s");

  state = after({hold(), release()});
  CHECK(std::holds_alternative<EnterQueue>(actions(JobPhase::kQueued, state, release()).at(0)));
  state = after(running + std::vector<JobEvent>{hold(), release()});
  CHECK(actions(JobPhase::kRunning, state, release()).empty());
}

TEST_CASE("job: one that waits gives up its turn when it is held, and has ended when it is cancelled") {
  const auto held = after({hold()});
  const auto turn = actions(JobPhase::kQueued, held, hold());
  REQUIRE(turn.size() == 1);
  CHECK(std::holds_alternative<LeaveQueue>(turn[0]));
  const auto cancelled = after({cancel()});
  const auto end = actions(JobPhase::kQueued, cancelled, cancel());
  REQUIRE(end.size() == 1);
  CHECK(std::holds_alternative<EndJob>(end[0]));
  const auto running = after({placed(1, 2), entered(1, 0), entered(1, 1), hold()});
  CHECK(actions(JobPhase::kRunning, running, hold()).empty());
}

TEST_CASE("job: a job that ran into its time limit has failed for good, whatever its ranks did") {
  const auto state =
      after({placed(1, 2), entered(1, 0), entered(1, 1), time_limit(1), exited(1, 0), killed(1, 1, 15)});
  CHECK(state.phase == JobPhase::kFailed);
  CHECK(state.error->kind == "time_limit");
  CHECK(state.error->message == "ran into its time limit of 60 s");
  CHECK(state.verdict == "the time limit of 60 s is reached: not restarted");
  CHECK(state.failures == 0);
}

TEST_CASE("job: a failure that is tried again waits for its time, an attempt that reported ends the row") {
  auto spec = command_spec(1, -1);
  auto state = submitted(JobId(7), 1, proto::JobSubmitted{spec, "job_7", "/runs/job_7", "", {}});
  const auto run = [&](proto::UnixMs at, std::vector<JobEvent> events) {
    for (const auto& event : events)
      for (std::optional<JobEvent> next = event; next; next = follow_up(state))
        REQUIRE(advance(state, {at, *next}).has_value());
  };
  std::vector<proto::UnixMs> waits;
  for (int attempt = 1; attempt <= 4; ++attempt) {
    run(attempt * 100'000, {placed(attempt, 1), exited(attempt, 0, 3)});
    waits.push_back(state.not_before_ms == 0 ? 0 : state.not_before_ms - attempt * 100'000);
  }
  CHECK(waits == std::vector<proto::UnixMs>{0, 1000, 2000, 4000});
  CHECK(state.verdict == "user failure 4, max_failures is -1: for ever: restarted in 4 s");
  run(900'000, {placed(5, 1), report(5, 1), exited(5, 0, 3)});
  CHECK(state.not_before_ms == 0);
  CHECK(state.failed_in_row == 1);
  run(900'000, {placed(6, 1), exited(6, 0, 3)});
  CHECK(state.not_before_ms == 901'000);
  run(900'001, {cancel()});
  CHECK(state.not_before_ms == 0);
}

TEST_CASE(
    "job: an exception that comes twice before the first step ends the job, an exit code of a program does "
    "not") {
  const auto life = [](std::vector<JobEvent> events) {
    auto state =
        submitted(JobId(7), 1, proto::JobSubmitted{command_spec(1, -1), "job_7", "/runs/job_7", "", {}});
    for (const auto& event : events)
      for (std::optional<JobEvent> next = event; next; next = follow_up(state))
        REQUIRE(advance(state, {1, *next}).has_value());
    return state;
  };
  CHECK(life({placed(1, 1), threw(1, 0), placed(2, 1), threw(2, 0)}).phase == JobPhase::kFailed);
  CHECK(life({placed(1, 1), threw(1, 0), placed(2, 1), threw(2, 0, "another")}).phase == JobPhase::kQueued);
  CHECK(life({placed(1, 1), threw(1, 0), placed(2, 1), entered(2, 0), first_step(2), threw(2, 0)}).phase ==
        JobPhase::kQueued);
  CHECK(life({placed(1, 1), threw(1, 0), placed(2, 1), entered(2, 0), report(2, 1), threw(2, 0)}).phase ==
        JobPhase::kQueued);
  CHECK(life({placed(1, 1), exited(1, 0, 3), placed(2, 1), exited(2, 0, 3)}).phase == JobPhase::kQueued);
}

TEST_CASE("job: an attempt that could not be started counts apart and goes on as if it had not been") {
  const std::vector<JobEvent> events{placed(1, 2), lost(1, 0), lost(1, 1)};
  const auto state = after(events);
  CHECK(state.phase == JobPhase::kQueued);
  CHECK(state.failures == 0);
  CHECK(state.controller_failures == 1);
  CHECK(state.failure_class == proto::FailureClass::kInfrastructure);
  CHECK(state.error->message == "rank 0 on node n0: the node went away");
}

TEST_CASE("job: who submitted it, and its place in an array, are kept") {
  const auto state =
      submitted(JobId(7), 1,
                proto::JobSubmitted{command_spec(), "r", "/r", "ann", proto::ArrayTask{JobId(5), 2, 10, 3}});
  CHECK(state.user == "ann");
  CHECK(state.array->id == JobId(5));
  CHECK(state.array->index == 2);
}

TEST_CASE("job: an elastic attempt has the workers that there is room for") {
  auto spec = command_spec(4);
  spec.scaling_config.min_workers = 2;
  const auto fresh = submitted(JobId(7), 1, proto::JobSubmitted{spec, "r", "/r", "", {}});
  for (int workers = 0; workers <= 5; ++workers) {
    INFO(workers);
    const auto state = apply(fresh, {2, placed(1, workers)});
    CHECK(state.has_value() == (workers >= 2 && workers <= 4));
    if (state)
      CHECK(std::cmp_equal(state->ranks.size(), workers));
    else
      CHECK(state.error().message().find("for 2 to 4 workers") != std::string::npos);
  }
}

TEST_CASE("job: a job file may hold its job from the start") {
  auto spec = command_spec(1);
  spec.scheduling.hold = true;
  const auto fresh = submitted(JobId(7), 1, proto::JobSubmitted{spec, "r", "/r", "", {}});
  CHECK(fresh.held_by == "its job file");
  CHECK(apply(fresh, {2, placed(1, 1)}).has_error());
  CHECK(apply(*apply(fresh, {2, release()}), {3, placed(1, 1)}).has_value());
}

}  // namespace job_table_test
