// Whole lives of a job: events with what follows from them by policy, and the effects, as the head sees them.
#include "daemon/core/job.h"

#include "tests/support/catch.h"

#include <algorithm>

namespace job_life_test {

using namespace rtrain;
using namespace rtrain::core;
using namespace rtrain::proto;

namespace {

constexpr JobId kJob(7);
constexpr Attempt k1(1), k2(2);

JobSubmitted submission(int workers, int max_failures = 0) {
  JobSubmitted event;
  proto::JobSpec spec;
  spec.name = "fashion";
  spec.command = {"train"};
  spec.scaling_config.num_workers = workers;
  spec.run_config.failure_config.max_failures = max_failures;
  spec.run_config.stop_grace_s = 7;
  event.spec = std::move(spec);
  event.run_name = "fashion_x";
  event.run_dir = "/results/fashion_x";
  return event;
}

/// Rank r on node n<r>.
AttemptPlaced placed(Attempt attempt, int workers) {
  AttemptPlaced event{attempt, {}};
  for (int rank = 0; rank < workers; ++rank)
    event.ranks.push_back({rank, "n" + std::to_string(rank), rank, 0, {}});
  return event;
}

RankFinished finished(Attempt attempt, int rank, int exit_code = 0) {
  RankFinished event;
  event.attempt = attempt;
  event.rank = rank;
  event.status.exit_code = exit_code;
  if (exit_code != 0)
    event.error = RankError{"exit", "exited with code " + std::to_string(exit_code), {"last line"}};
  return event;
}

RankFinished killed(Attempt attempt, int rank, int signal) {
  RankFinished event;
  event.attempt = attempt;
  event.rank = rank;
  event.status.signal = signal;
  event.error = RankError{"signal", "was killed by signal " + std::to_string(signal), {}};
  return event;
}

MetricsReported report(Attempt attempt, std::int64_t seq, double loss) {
  MetricsReported event;
  event.attempt = attempt;
  event.seq = seq;
  event.metrics = {{"loss", loss}};
  return event;
}

std::vector<StampedEvent> stamped(std::vector<JobEvent> events) {
  std::vector<StampedEvent> log;
  for (auto& event : events) log.push_back({static_cast<UnixMs>(100 * (log.size() + 1)), std::move(event)});
  return log;
}

Result<JobState> fold(std::vector<JobEvent> events) { return replay(kJob, stamped(std::move(events))); }

/// Applies an event and all that follows by policy, as the head does, and collects the actions.
struct Life {
  JobState state;
  std::vector<Action> done;
  std::vector<std::string> names;

  explicit Life(int workers, int max_failures = 0)
      : state(submitted(kJob, 1, submission(workers, max_failures))) {}
  Life& operator<<(JobEvent event) {
    for (std::optional<JobEvent> next = std::move(event); next; next = follow_up(state)) {
      const auto before = state.phase;
      auto applied = advance(state, {1000, *next});
      INFO((applied ? "" : applied.error().message()));
      REQUIRE(applied.has_value());
      names.emplace_back(event_name(*next));
      for (auto& action : actions(before, state, *next)) done.push_back(action);
    }
    return *this;
  }
  template <class T>
  [[nodiscard]] int count() const {
    return static_cast<int>(
        std::ranges::count_if(done, [](const Action& a) { return std::holds_alternative<T>(a); }));
  }
};

}  // namespace

TEST_CASE(
    "job: an attempt is placed in the order of its ranks, and does not end without a verdict on its "
    "failure") {
  const auto out_of_order =
      fold({submission(2), AttemptPlaced{k1, {{1, "a", 0, 0, {}}, {0, "a", 0, 1, {}}}}});
  CHECK(out_of_order.has_error());
  const auto no_verdict = fold({submission(1), placed(k1, 1), finished(k1, 0, 3), AttemptEnded{k1}});
  REQUIRE(no_verdict.has_error());
  CHECK(no_verdict.error().message().find("event 3 of job 7") != std::string::npos);
  const auto of_another =
      fold({submission(1), placed(k1, 1), AttemptFailed{k1, {"exit", "", 0, "n0", 2, {}, {}}, false, ""}});
  CHECK(of_another.has_error());
}

TEST_CASE("job: a worker's word may overtake its supervisor's, the pid comes all the same") {
  const auto replayed = fold({submission(1), placed(k1, 1), RankEntered{k1, 0}, RankForked{k1, 0, 99}});
  REQUIRE(replayed.has_value());
  const auto& state = *replayed;
  CHECK(state.ranks[0].phase == RankPhase::kRunning);
  CHECK(state.ranks[0].pid == 99);
}

TEST_CASE("job: the first rank that fails is the job's error, those it takes along are not") {
  Life life(3);
  life << placed(k1, 3) << RankEntered{k1, 0} << killed(k1, 1, 9);
  CHECK(life.state.phase == JobPhase::kStopping);
  REQUIRE(life.count<StopRanks>() == 1);
  const auto stop = std::find_if(life.done.begin(), life.done.end(),
                                 [](const Action& a) { return std::holds_alternative<StopRanks>(a); });
  CHECK(std::get<StopRanks>(*stop).grace_s == kFailureGraceS);
  life << finished(k1, 0, 1) << killed(k1, 2, 15);
  CHECK(life.state.phase == JobPhase::kFailed);
  REQUIRE(life.state.error.has_value());
  CHECK(life.state.error->message == "rank 1 on node n1: was killed by signal 9");
  CHECK(life.state.error->kind == "signal");
  CHECK(life.state.error->rank == 1);
  CHECK(life.state.error->node == "n1");
  CHECK(life.state.failures == 1);
  CHECK(life.count<FreeResources>() == 1);
  CHECK(life.count<EnterQueue>() == 0);
}

TEST_CASE("job: the last lines of the log come with the error") {
  Life life(1);
  life << placed(k1, 1) << finished(k1, 0, 3);
  REQUIRE(life.state.error.has_value());
  CHECK(life.state.error->log_tail == std::vector<std::string>{"last line"});
  CHECK(life.names ==
        std::vector<std::string>{"attempt_placed", "rank_finished", "attempt_failed", "attempt_ended"});
  CHECK(life.count<StopRanks>() == 0);  // nobody is left to stop
}

TEST_CASE("job: a rank that ended without success or words of its own is a failure") {
  Life life(1);
  RankFinished end;
  end.attempt = k1;
  end.status.lost = true;
  life << placed(k1, 1) << RankForked{k1, 0, 99} << end;
  CHECK(life.state.phase == JobPhase::kFailed);
  CHECK(life.state.error->kind == "lost");
}

TEST_CASE("job: success after a failed attempt clears the error") {
  Life life(1, 1);
  life << placed(k1, 1) << finished(k1, 0, 3);
  CHECK(life.state.phase == JobPhase::kQueued);
  CHECK(life.count<EnterQueue>() == 1);
  life << placed(k2, 1) << finished(k2, 0);
  CHECK(life.state.phase == JobPhase::kSucceeded);
  CHECK_FALSE(life.state.error.has_value());
  CHECK(life.state.failures == 1);
  CHECK(life.count<LaunchAttempt>() == 2);
  CHECK(life.count<FreeResources>() == 2);
}

TEST_CASE("job: a cancelled job has no error and no return value, and is stopped with its own grace") {
  Life life(2, 5);
  life << placed(k1, 2) << RankEntered{k1, 0} << CancelRequested{"ann"};
  REQUIRE(std::holds_alternative<StopRanks>(life.done.back()));
  CHECK(std::get<StopRanks>(life.done.back()).grace_s == 7);
  auto end = finished(k1, 0);
  end.return_value = 5;
  life << end << killed(k1, 1, 15);
  CHECK(life.state.phase == JobPhase::kCancelled);
  CHECK(life.state.failures == 0);
  CHECK(life.state.return_value.is_null());
  CHECK(life.count<EnterQueue>() == 0);
}

TEST_CASE("job: live and in replay, by value and in place, the same log gives the same state") {
  Life life(2, 1);
  life << placed(k1, 2) << RankForked{k1, 0, 5} << RankEntered{k1, 0} << report(k1, 1, 0.5)
       << killed(k1, 1, 9);
  const auto by_value = apply(life.state, {9, finished(k1, 0)});
  REQUIRE(by_value.has_value());
  REQUIRE(advance(life.state, {9, finished(k1, 0)}).has_value());
  CHECK(by_value->phase == life.state.phase);
  CHECK(by_value->ranks[0].phase == life.state.ranks[0].phase);
  CHECK(by_value->metrics == life.state.metrics);
}

namespace {

MetricsReported report(Attempt attempt, std::int64_t seq) {
  MetricsReported event;
  event.attempt = attempt;
  event.seq = seq;
  event.metrics = {{"loss", 1}};
  return event;
}

JobState after(JobState state, const std::vector<JobEvent>& events) {
  for (const auto& event : events) {
    REQUIRE(advance(state, {1, event}).has_value());
    while (auto due = follow_up(state)) REQUIRE(advance(state, {1, *due}).has_value());
  }
  return state;
}

}  // namespace

TEST_CASE("job: reports that never came are counted by the gaps in their numbers, over all attempts") {
  JobState state = submitted(kJob, 0, submission(1, 1));
  state = after(state, {placed(k1, 1), report(k1, 1), report(k1, 2)});
  CHECK(reports_dropped(state) == 0);
  state = after(state, {report(k1, 5)});
  CHECK(reports_dropped(state) == 2);
  state = after(state, {finished(k1, 0, 3)});  // waits for its second attempt
  CHECK(reports_dropped(state) == 2);
  state = after(state, {placed(k2, 1), report(k2, 1), report(k2, 3), finished(k2, 0)});
  CHECK(state.phase == JobPhase::kSucceeded);
  CHECK(state.reports == 5);
  CHECK(reports_dropped(state) == 3);
}

TEST_CASE(
    "job: what was dropped is known after a replay, which sees no reports, once the stored points are "
    "counted") {
  JobState live = submitted(kJob, 0, submission(1, 1));
  std::vector<StampedEvent> log{{0, submission(1, 1)}};
  for (const auto& event : std::vector<JobEvent>{placed(k1, 1), report(k1, 1), report(k1, 5),
                                                 finished(k1, 0, 3), placed(k2, 1), report(k2, 4)}) {
    for (std::optional<JobEvent> next = event; next; next = follow_up(live)) {
      REQUIRE(advance(live, {1, *next}).has_value());
      if (!std::holds_alternative<MetricsReported>(*next)) log.push_back({1, *next});
    }
  }
  JobState replayed = *replay(kJob, log);
  replayed.reports = 3;   // as recovery takes them from the points
  replayed.last_seq = 4;  // of the last one, which is of the current attempt
  CHECK(reports_dropped(live) == 6);
  CHECK(reports_dropped(replayed) == 6);
}

TEST_CASE("job: failures are counted by class and kind, and so are preemptions and time limits") {
  auto lost = finished(k1, 0);
  lost.status = {std::nullopt, std::nullopt, true};
  lost.error = RankError{"lost", "the node went away", {}};
  JobState state =
      after(submitted(kJob, 0, submission(1, -1)), {placed(k1, 1), lost, placed(k2, 1), finished(k2, 0, 3)});
  CHECK(state.failures_by_class == FailureCounts{{"infrastructure", {{"lost", 1}}}, {"user", {{"exit", 1}}}});
  const Attempt k3(3), k4(4);
  auto gave_way = finished(k3, 0);
  gave_way.yielded = true;
  state = after(state, {placed(k3, 1)});
  state = after(state, {yield_requested(state, YieldCause::kPreempted, "job 9 needs its place", 1), gave_way,
                        placed(k4, 1), TimeLimitReached{k4, 60}, finished(k4, 0, 1)});
  CHECK(state.phase == JobPhase::kFailed);
  CHECK(state.failures_by_class == FailureCounts{{"infrastructure", {{"lost", 1}}},
                                                 {"user", {{"exit", 1}, {"time_limit", 1}}},
                                                 {"preemption", {{"preempted", 1}}}});
}

}  // namespace job_life_test
