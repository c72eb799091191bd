#include "daemon/core/job.h"

#include "tests/support/catch.h"
#include "tests/support/jobs.h"

namespace job_test {

using namespace rtrain;
using namespace rtrain::core;
using namespace rtrain::test;
using proto::JobEvent;

namespace {

/// A job and all the events that made it, as the head applies them: what follows by policy comes at once.
struct Life {
  explicit Life(int workers = 1, int max_failures = 0)
      : log{{10, proto::JobSubmitted{command_spec(workers, max_failures), "job_7", "/runs/job_7"}}} {
    state = submitted(JobId(7), 10, std::get<proto::JobSubmitted>(log[0].event));
  }

  Result<Done> apply_one(JobEvent event) {
    log.push_back({log.back().at + 1, std::move(event)});
    const auto before = state.phase;
    auto done = advance(state, log.back());
    if (!done) {
      log.pop_back();
      return done;
    }
    for (auto& action : actions(before, state, log.back().event)) acts.push_back(std::move(action));
    return done;
  }
  Life& operator<<(JobEvent event) {
    const std::string name(proto::event_name(event));
    for (std::optional<JobEvent> next = std::move(event); next; next = follow_up(state)) {
      const auto done = apply_one(std::move(*next));
      INFO(name << (done.has_value() ? "" : ": " + done.error().message()));
      REQUIRE(done.has_value());
    }
    return *this;
  }
  /// All ranks of an attempt up to RUNNING.
  Life& runs(std::int64_t attempt) {
    const int workers = state.spec->scaling_config.num_workers;
    *this << placed(attempt, workers);
    for (int rank = 0; rank < workers; ++rank) *this << forked(attempt, rank) << entered(attempt, rank);
    return *this;
  }
  template <class T>
  int count() const {
    int n = 0;
    for (const auto& action : acts) n += std::holds_alternative<T>(action) ? 1 : 0;
    return n;
  }

  std::vector<proto::StampedEvent> log;
  JobState state;
  std::vector<Action> acts;
};

std::string phase(const Life& life) { return std::string(to_string(life.state.phase)); }

/// Everything of a state that anyone can see.
std::string picture(const JobState& s) {
  std::string text =
      std::string(to_string(s.phase)) + " " + to_string(s.attempt) + " f" + std::to_string(s.failures) +
      " seq" + std::to_string(s.last_seq) + " r" + std::to_string(s.reports) + " " +
      proto::dump_json(s.metrics) + " " + proto::dump_json(s.return_value) + " e" +
      (s.error ? s.error->message : "") + " v" + s.verdict + " c" + s.cancelled_by +
      (s.retry ? " retry" : "") + " n" + std::to_string(s.next_checkpoint_index) + " u" +
      std::to_string(s.controller_failures) + "," + std::to_string(s.preemptions) + "," +
      std::to_string(s.drains) + "," + std::to_string(s.resizes) + "," + std::to_string(s.failed_in_row) +
      (s.held ? " held by " + s.held_by : "") + (s.first_step ? " step" : "") +
      (s.yield ? " yield " + s.yield->reason : "") + " b" + std::to_string(s.not_before_ms) + "," +
      std::to_string(s.placed_ms) + "," + std::to_string(s.updated_ms) + " t" +
      std::to_string(s.submitted_ms) + "," + std::to_string(s.started_ms) + "," + std::to_string(s.ended_ms);
  for (const auto& rank : s.ranks)
    text += " | " + rank.placement.node + " " + std::string(to_string(rank.phase)) + " " +
            std::to_string(rank.pid) + " " + (rank.phase == RankPhase::kEnded ? to_string(rank.status) : "");
  for (const auto& checkpoint : s.checkpoints) text += " + " + checkpoint.path;
  return text;
}

}  // namespace

TEST_CASE("job: event logs lead to their phases") {
  struct Row {
    const char* name;
    int workers;
    int max_failures;
    std::vector<JobEvent> events;
    const char* phase;
    int failures;
  };
  const std::vector<Row> rows{
      {"just submitted", 1, 0, {}, "QUEUED", 0},
      {"placed", 2, 0, {placed(1, 2)}, "STARTING", 0},
      {"one of two entered", 2, 0, {placed(1, 2), forked(1, 0), entered(1, 0)}, "STARTING", 0},
      {"both entered",
       2,
       0,
       {placed(1, 2), forked(1, 0), entered(1, 0), forked(1, 1), entered(1, 1)},
       "RUNNING",
       0},
      {"the worker's word overtakes the supervisor's",
       1,
       0,
       {placed(1, 1), entered(1, 0), forked(1, 0)},
       "RUNNING",
       0},
      {"one of two finished", 2, 0, {placed(1, 2), entered(1, 0), entered(1, 1), exited(1, 0)}, "RUNNING", 0},
      {"both finished",
       2,
       0,
       {placed(1, 2), entered(1, 0), entered(1, 1), exited(1, 0), exited(1, 1)},
       "SUCCEEDED",
       0},
      {"finished before anyone said it entered", 1, 0, {placed(1, 1), exited(1, 0)}, "SUCCEEDED", 0},
      {"one failed, the other still lives",
       2,
       0,
       {placed(1, 2), entered(1, 0), entered(1, 1), exited(1, 1, 3)},
       "STOPPING",
       1},
      {"failed for good",
       2,
       0,
       {placed(1, 2), entered(1, 0), entered(1, 1), exited(1, 1, 3), killed(1, 0, 15)},
       "FAILED",
       1},
      {"failed while starting", 2, 0, {placed(1, 2), forked(1, 0), lost(1, 0), lost(1, 1)}, "FAILED", 1},
      {"never started", 2, 0, {placed(1, 2), lost(1, 0), lost(1, 1)}, "QUEUED", 0},
      {"placed again after it never started",
       2,
       0,
       {placed(1, 2), lost(1, 0), lost(1, 1), placed(2, 2)},
       "STARTING",
       0},
      {"failed with a retry left", 1, 1, {placed(1, 1), exited(1, 0, 3)}, "QUEUED", 1},
      {"the retry runs", 1, 1, {placed(1, 1), exited(1, 0, 3), placed(2, 1), entered(2, 0)}, "RUNNING", 1},
      {"the retry succeeds",
       1,
       1,
       {placed(1, 1), exited(1, 0, 3), placed(2, 1), exited(2, 0)},
       "SUCCEEDED",
       1},
      {"the retry fails too",
       1,
       1,
       {placed(1, 1), exited(1, 0, 3), placed(2, 1), exited(2, 0, 3)},
       "FAILED",
       2},
      {"cancelled while queued", 1, 0, {cancel()}, "CANCELLED", 0},
      {"cancelled while starting", 1, 0, {placed(1, 1), cancel()}, "STOPPING", 0},
      {"cancelled while running, then ended",
       1,
       5,
       {placed(1, 1), entered(1, 0), cancel(), killed(1, 0, 15)},
       "CANCELLED",
       0},
      {"cancelled and the rank exits 0",
       1,
       0,
       {placed(1, 1), entered(1, 0), cancel(), exited(1, 0)},
       "CANCELLED",
       0},
      {"cancelled while stopping for a retry",
       2,
       5,
       {placed(1, 2), exited(1, 0, 3), cancel(), killed(1, 1)},
       "CANCELLED",
       1},
      {"cancelled while queued for a retry", 1, 5, {placed(1, 1), exited(1, 0, 3), cancel()}, "CANCELLED", 1},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    Life life(row.workers, row.max_failures);
    for (const auto& event : row.events) life << event;
    CHECK(phase(life) == row.phase);
    CHECK(life.state.failures == row.failures);
    CHECK((life.state.ended_ms != 0) == is_terminal(life.state.phase));
    // Replay of the log gives the same state.
    const auto replayed = replay(JobId(7), life.log);
    REQUIRE(replayed.has_value());
    CHECK(picture(*replayed) == picture(life.state));
  }
}

TEST_CASE("job: what is not legal now is refused and changes nothing") {
  const std::vector<JobEvent> nothing;
  struct Row {
    const char* name;
    int max_failures;
    std::vector<JobEvent> before;
    JobEvent event;
    const char* says;
  };
  const std::vector<JobEvent> running{placed(1, 2), forked(1, 0), entered(1, 0), forked(1, 1), entered(1, 1)};
  const std::vector<JobEvent> retried{placed(1, 2), exited(1, 0, 3), killed(1, 1), placed(2, 2)};
  const std::vector<JobEvent> over{placed(1, 2), exited(1, 0), exited(1, 1)};
  std::vector<proto::RankPlacement> shuffled = spread(2);
  std::swap(shuffled[0], shuffled[1]);
  const std::vector<Row> rows{
      {"submitted twice", 0, nothing, proto::JobSubmitted{command_spec(2), "x", "/x"}, "job_submitted"},
      {"placed twice", 0, {placed(1, 2)}, placed(2, 2), "STARTING"},
      {"an attempt is skipped", 0, nothing, placed(2, 2), "attempt 2"},
      {"too few ranks", 0, nothing, placed(1, 1), "1 ranks for 2 workers"},
      {"too many ranks", 0, nothing, placed(1, 3), "3 ranks for 2 workers"},
      {"ranks out of order", 0, nothing, proto::AttemptPlaced{Attempt(1), shuffled}, "order"},
      {"placed after the end", 0, over, placed(2, 2), "SUCCEEDED"},
      {"forked before placed", 0, nothing, forked(1, 0), "attempt 1"},
      {"forked twice", 0, {placed(1, 2), forked(1, 0)}, forked(1, 0), "rank_forked"},
      {"no such rank", 0, {placed(1, 2)}, forked(1, 2), "no rank 2"},
      {"a negative rank", 0, {placed(1, 2)}, entered(1, -1), "no rank -1"},
      {"entered twice", 0, running, entered(1, 0), "rank_entered"},
      {"finished twice", 0, {placed(1, 2), exited(1, 0)}, exited(1, 0), "rank_finished"},
      {"finished, then entered", 0, {placed(1, 2), exited(1, 0)}, entered(1, 0), "rank_entered"},
      {"a report of an older attempt", 3, retried, report(1, 1),
       "attempt 1 is not the current one of job 7 (2"},
      {"an end of an older attempt", 3, retried, exited(1, 0), "attempt 1"},
      {"a fork of an older attempt", 3, retried, forked(1, 0), "attempt 1"},
      {"a failure of an older attempt", 3, retried, proto::AttemptFailed{Attempt(1), {}, true, ""},
       "attempt 1"},
      {"an attempt of the future", 3, retried, report(3, 1), "attempt 3"},
      {"a report before the start", 0, nothing, report(1, 1), "attempt 1"},
      {"a report after the end", 0, over, report(1, 1), "SUCCEEDED"},
      {"a report seen before",
       0,
       {placed(1, 2), entered(1, 0), report(1, 1)},
       report(1, 1),
       "report 1 was seen before"},
      {"a report older than the last",
       0,
       {placed(1, 2), entered(1, 0), report(1, 1), report(1, 5)},
       report(1, 4),
       "report 4"},
      {"an attempt ends while ranks run", 0, running, ended(1), "some ranks still run"},
      {"an attempt ends before there is one", 0, nothing, ended(1), "attempt_ended"},
      {"fails twice",
       0,
       {placed(1, 2), exited(1, 0, 1)},
       proto::AttemptFailed{Attempt(1), {}, true, ""},
       "attempt_failed"},
      {"cancelled twice", 0, {placed(1, 2), cancel()}, cancel(), "being cancelled already"},
      {"cancelled after success", 0, over, cancel(), "has already ended: SUCCEEDED"},
      {"cancelled after cancel", 0, {cancel()}, cancel(), "has already ended: CANCELLED"},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    Life life(2, row.max_failures);
    for (const auto& event : row.before) life << event;
    const auto before = picture(life.state);
    const auto done = advance(life.state, {999, row.event});
    REQUIRE(done.has_error());
    CHECK(done.error().code() == Errc::kConflict);
    CHECK(done.error().message().find(row.says) != std::string::npos);
    INFO(done.error().message());
    CHECK(picture(life.state) == before);
    CHECK(apply(life.state, {999, row.event}).has_error());
  }
}

TEST_CASE("job: follow_up names the rank that failed first, once") {
  Life life(3, 1);
  life.runs(1);
  REQUIRE(follow_up(life.state) == std::nullopt);
  auto failing = std::get<proto::RankFinished>(exited(1, 2, 1));
  failing.error = proto::RankError{"exception", "loss is NaN", {"step 4", "what(): loss is NaN"}};
  REQUIRE(life.apply_one(failing).has_value());
  const auto next = follow_up(life.state);
  REQUIRE(next.has_value());
  const auto& failed = std::get<proto::AttemptFailed>(*next);
  CHECK(failed.attempt == Attempt(1));
  CHECK(failed.retry);
  CHECK(failed.reason == "user failure 1, max_failures is 1: restarted at once");
  CHECK(failed.error.kind == "exception");
  CHECK(failed.error.message == "rank 2 on node n2: loss is NaN");
  CHECK(failed.error.rank == 2);
  CHECK(failed.error.node == "n2");
  CHECK(failed.error.attempt == 1);
  CHECK(failed.error.status.exit_code == 1);
  CHECK(failed.error.log_tail == std::vector<std::string>{"step 4", "what(): loss is NaN"});
  life << *next;
  // The ranks that die of the stop change nothing of the error.
  life << killed(1, 0, 15) << killed(1, 1, 9);
  CHECK(phase(life) == "QUEUED");
  CHECK(life.state.error->rank == 2);
  CHECK(life.state.failures == 1);
  CHECK(follow_up(life.state) == std::nullopt);
}

TEST_CASE("job: a failure without last words is told by its status") {
  Life by_signal, by_code;
  by_signal << placed(1, 1) << killed(1, 0, 9);
  CHECK(by_signal.state.error->message == "rank 0 on node n0: was killed by signal 9 (Killed)");
  by_code << placed(1, 1) << exited(1, 0, 3);
  CHECK(by_code.state.error->message == "rank 0 on node n0: exited with code 3");
}

TEST_CASE("job: exit code 0 with an error is a failure") {
  Life life;
  auto early = std::get<proto::RankFinished>(exited(1, 0, 0));
  early.error = proto::RankError{"exit", "exited with code 0 before the training function returned", {}};
  life << placed(1, 1) << early;
  CHECK(phase(life) == "FAILED");
  CHECK(life.state.error->status.exit_code == 0);
}

TEST_CASE("job: success clears the error of an earlier attempt and keeps the count") {
  Life life(1, -1);
  life << placed(1, 1) << exited(1, 0, 3) << placed(2, 1);
  REQUIRE(life.state.error.has_value());
  auto good = std::get<proto::RankFinished>(exited(2, 0));
  good.return_value = {{"accuracy", 0.9}};
  life << good;
  CHECK(phase(life) == "SUCCEEDED");
  CHECK_FALSE(life.state.error.has_value());
  CHECK(life.state.failures == 1);
  CHECK(life.state.return_value["accuracy"] == 0.9);
}

TEST_CASE("job: effects of a life that ends well") {
  Life life(2);
  for (auto& action : actions(JobPhase::kQueued, life.state, life.log[0].event)) life.acts.push_back(action);
  REQUIRE(life.acts.size() == 1);
  CHECK(life.count<EnterQueue>() == 1);
  life << placed(1, 2);
  REQUIRE(life.acts.size() == 2);
  CHECK(std::get<LaunchAttempt>(life.acts[1]).attempt == Attempt(1));
  life << forked(1, 0) << entered(1, 0) << forked(1, 1) << entered(1, 1) << report(1, 1) << exited(1, 0);
  CHECK(life.acts.size() == 2);
  life << exited(1, 1);
  REQUIRE(life.acts.size() == 3);
  CHECK(std::get<FreeResources>(life.acts[2]).attempt == Attempt(1));
}

TEST_CASE("job: effects of a failure, with and without a retry") {
  for (const int max_failures : {0, 1}) {
    Life life(2, max_failures);
    life.runs(1) << exited(1, 1, 3);
    REQUIRE(life.count<StopRanks>() == 1);
    const auto& stop = std::get<StopRanks>(life.acts.back());
    CHECK(stop.attempt == Attempt(1));
    CHECK(stop.grace_s == kFailureGraceS);
    CHECK(stop.reason == "rank 1 on node n1: exited with code 3");
    CHECK(life.count<FreeResources>() == 0);  // while a rank lives it holds what it was given
    life << killed(1, 0, 15);
    CHECK(life.count<FreeResources>() == 1);
    CHECK(life.count<EnterQueue>() == max_failures);
  }
}

TEST_CASE("job: the last rank's failure needs no stop") {
  Life life(1);
  life << placed(1, 1) << exited(1, 0, 3);
  CHECK(life.count<StopRanks>() == 0);
  CHECK(life.count<FreeResources>() == 1);
}

TEST_CASE("job: effects of cancel in each phase") {
  Life queued;
  queued << cancel();
  CHECK(queued.acts.size() == 1);
  CHECK(queued.count<EndJob>() == 1);
  CHECK(queued.state.cancelled_by == "a user");

  Life starting, running;
  starting << placed(1, 1) << cancel();
  running.runs(1) << cancel();
  for (const auto* life : {&starting, &running}) {
    const auto& stop = std::get<StopRanks>(life->acts.back());
    CHECK(stop.grace_s == life->state.spec->run_config.stop_grace_s);
    CHECK(stop.reason == "cancelled by a user");
  }

  // Already stopping for a failure: the ranks are told again, the retry is off.
  Life stopping(2, 5);
  stopping.runs(1) << exited(1, 0, 3) << cancel();
  CHECK(stopping.count<StopRanks>() == 2);
  stopping << killed(1, 1);
  CHECK(phase(stopping) == "CANCELLED");
  CHECK(stopping.count<EnterQueue>() == 0);
}

TEST_CASE("job: a job that restarts for ever remembers the nodes of its newest attempts only") {
  Life life(1, -1);
  const auto attempts = static_cast<std::int64_t>(kAttemptsKept) + 20;
  for (std::int64_t attempt = 1; attempt <= attempts; ++attempt)
    life << placed(attempt, 1) << exited(attempt, 0, 1);
  CHECK(life.state.failures == attempts);
  CHECK(life.state.nodes.size() == kAttemptsKept);
  CHECK(life.state.nodes.begin()->first == Attempt(21));
  CHECK(phase(life) == "QUEUED");
}

TEST_CASE("job: reports number their attempt, checkpoints outlive it") {
  Life life(1, 1);
  const auto with = [](std::int64_t attempt, std::int64_t seq, std::int64_t index,
                       std::vector<std::string> deleted = {}) {
    return proto::MetricsReported{
        Attempt(attempt),
        seq,
        {{"seq", seq}},
        proto::CheckpointRecord{"/runs/job_7/checkpoint_" + std::to_string(index), index, {}},
        std::move(deleted)};
  };
  life << placed(1, 1) << entered(1, 0) << with(1, 1, 0) << report(1, 2) << with(1, 3, 1) << exited(1, 0, 1);
  CHECK(life.state.reports == 3);
  CHECK(life.state.next_checkpoint_index == 2);
  // The second attempt counts its reports from 1 again and goes on with the checkpoint numbers.
  life << placed(2, 1);
  CHECK(life.state.last_seq == 0);
  CHECK(life.state.checkpoints.size() == 2);
  life << with(2, 1, 2, {"/runs/job_7/checkpoint_0"});
  REQUIRE(life.state.checkpoints.size() == 2);
  CHECK(life.state.checkpoints[0].index == 1);
  CHECK(life.state.checkpoints[1].index == 2);
  // Written again after a crash between the write and the report: one record, the newest last.
  life << with(2, 2, 1);
  REQUIRE(life.state.checkpoints.size() == 2);
  CHECK(life.state.checkpoints[1].index == 1);
  CHECK(life.state.next_checkpoint_index == 3);
  CHECK(life.state.metrics["seq"] == 2);
}

TEST_CASE("job: reports that arrive while the attempt stops still count") {
  Life life(2, 1);
  life.runs(1) << exited(1, 1, 1) << report(1, 1);
  CHECK(life.state.reports == 1);
  CHECK(phase(life) == "STOPPING");
}

TEST_CASE("job: times are those of the events") {
  Life life(2, 1);
  life << placed(1, 2);
  CHECK(life.state.started_ms == 0);
  life << entered(1, 1);
  const auto started = life.state.started_ms;
  CHECK(started == life.log.back().at);
  life << entered(1, 0) << exited(1, 0, 1) << killed(1, 1) << placed(2, 2) << entered(2, 0) << exited(2, 0)
       << exited(2, 1);
  CHECK(life.state.submitted_ms == 10);
  CHECK(life.state.started_ms == started);
  CHECK(life.state.ended_ms == life.log.back().at);
}

TEST_CASE("job: replay names the event that is wrong") {
  CHECK(replay(JobId(7), {}).has_error());
  const std::vector<proto::StampedEvent> headless{{1, placed(1, 1)}};
  CHECK(replay(JobId(7), headless).error().message().find("not job_submitted") != std::string::npos);
  const std::vector<proto::StampedEvent> broken{
      {1, proto::JobSubmitted{command_spec(), "r", "/r"}}, {2, placed(1, 1)}, {3, placed(2, 1)}};
  const auto error = replay(JobId(7), broken);
  REQUIRE(error.has_error());
  CHECK(error.error().message().starts_with("replaying event 2 of job 7: "));
}

TEST_CASE(
    "job: that an attempt reported before it failed is known after a replay without its metric points") {
  Life life(1, 5);
  life << placed(1, 1) << report(1, 1) << threw(1, 0);
  REQUIRE(life.state.last_failure.has_value());
  std::erase_if(life.log, [](const auto& event) {
    return std::holds_alternative<proto::MetricsReported>(event.event);
  });
  const auto replayed = replay(JobId(7), life.log);
  REQUIRE(replayed.has_value());
  CHECK(replayed->last_failure->before_first_step == life.state.last_failure->before_first_step);
  CHECK(replayed->failed_in_row == life.state.failed_in_row);
  // So the same words before the next attempt's first step do not end the job.
  Life next(1, 5);
  next.state = *replayed;
  next << placed(2, 1) << threw(2, 0);
  CHECK(phase(next) == "QUEUED");
}

}  // namespace job_test
