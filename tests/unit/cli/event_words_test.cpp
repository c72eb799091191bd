#include "cli/event_words.h"

#include "tests/support/catch.h"

namespace event_words_test {

using namespace rtrain;
using namespace rtrain::cli;
using namespace rtrain::proto;

TEST_CASE("event words: each event is a sentence") {
  const JobError error{"signal", "rank 1 on node b: was killed by signal 9 (Killed)", 1, "b", 1, {}, {}};
  struct Row {
    JobEvent event;
    const char* words;
    std::int64_t attempt;
  };
  const std::vector<Row> rows{
      {JobSubmitted{{}, "run", "/r/run", "ann", {}}, "submitted by ann; results go to /r/run", 0},
      {JobSubmitted{{}, "run", "/r/run", "", ArrayTask{JobId(4), 3, 10, 0}},
       "submitted, index 3 of array 4; results go to /r/run", 0},
      {AttemptPlaced{Attempt(2), {{0, "a", 0, 0, {}}, {1, "a", 0, 1, {}}, {2, "b", 1, 0, {}}}},
       "3 ranks on a, b", 2},
      {RankForked{Attempt(1), 1, 99}, "rank 1 started, pid 99", 1},
      {RankEntered{Attempt(1), 1}, "rank 1 runs", 1},
      {FirstStep{Attempt(1)}, "the training loop made its first step", 1},
      {MetricsReported{
           Attempt(1), 4, {}, CheckpointRecord{"/r/checkpoint_000003", 3, {}}, {"/r/checkpoint_000001"}},
       "report 4 with checkpoint_000003, 1 older removed", 1},
      {RankFinished{Attempt(1), 0, ExitStatus{0, std::nullopt, false}, {}, {}, false},
       "rank 0 exited with code 0", 1},
      {RankFinished{Attempt(1), 0, ExitStatus{0, std::nullopt, false}, {}, {}, true},
       "rank 0 exited with code 0 after it was asked to yield", 1},
      {RankFinished{Attempt(1),
                    1,
                    ExitStatus{1, std::nullopt, false},
                    RankError{"exception", "loss is NaN", {}},
                    {},
                    false},
       "rank 1: loss is NaN", 1},
      {AttemptFailed{Attempt(1), error, true,
                     "infrastructure failure 1, max_failures is 2: restarted at once",
                     FailureClass::kInfrastructure, true, 0},
       "failed: rank 1 on node b: was killed by signal 9 (Killed); infrastructure failure 1, max_failures is "
       "2: restarted at once",
       1},
      {YieldRequested{Attempt(1), YieldCause::kPreempted, "job 9 needs its place", 20, true},
       "asked to write a checkpoint and to yield within 20s (preempted): job 9 needs its place", 1},
      {YieldRequested{Attempt(1), YieldCause::kPruned, "rank 5 of 9 at rung 2", 10, false, false},
       "stopped (pruned): rank 5 of 9 at rung 2", 1},
      {JobSubmitted{{}, "run", "/r/run", "", {}, "", {}, SweepTrial{JobId(7), 12}},
       "submitted, trial 12 of sweep 7; results go to /r/run", 0},
      {TimeLimitReached{Attempt(1), 60}, "stopped: the time limit of 60 s is reached", 1},
      {JobSubmitted{
           {}, "run", "/r/run", "", {}, "", ValidatedCheckpoint{JobId(4), 3, "/r/checkpoint_000003"}},
       "submitted, validates checkpoint 3 of job 4; results go to /r/run", 0},
      {ValidationStarted{3, JobId(9)}, "checkpoint 3 is validated by job 9", 0},
      {ValidationEnded{3, ValidationStatus::kValidated, {{"accuracy", 0.5}}, ""},
       "checkpoint 3 is validated: accuracy=0.5", 0},
      {ValidationEnded{3, ValidationStatus::kTimeout, {}, "job 9 ran into its time limit of 60 s"},
       "warning: checkpoint 3 was not validated (timeout): job 9 ran into its time limit of 60 s", 0},
      {CancelRequested{"ann"}, "cancelled by ann", 0},
      {JobHeld{"ann"}, "held by ann", 0},
      {JobReleased{""}, "released", 0},
      {AttemptEnded{Attempt(1)}, "all ranks are gone, their resources are free", 1},
  };
  for (const auto& row : rows) {
    CHECK(event_words(row.event) == row.words);
    CHECK(attempt_of(row.event) == row.attempt);
  }
}

}  // namespace event_words_test
