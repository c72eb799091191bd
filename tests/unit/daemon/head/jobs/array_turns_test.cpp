#include "daemon/head/jobs/array_turns.h"

#include "tests/support/catch.h"

namespace array_turns_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

proto::ArrayTask two_at_a_time() {
  proto::ArrayTask task;
  task.id = JobId(1);
  task.count = 5;
  task.max_running = 2;
  return task;
}
using Ids = std::vector<JobId>;

}  // namespace

TEST_CASE("array turns: so many at a time, by number, and the next one moves up when one ends") {
  ArrayTurns turns;
  const auto task = two_at_a_time();
  CHECK(turns.waits(JobId(1), task) == Ids{JobId(1)});
  CHECK(turns.waits(JobId(2), task) == Ids{JobId(2)});
  for (const int id : {5, 3, 4}) CHECK(turns.waits(JobId(id), task).empty());
  CHECK(turns.has_turn(JobId(2), task));
  CHECK_FALSE(turns.has_turn(JobId(3), task));
  CHECK(turns.waits(JobId(2), task).empty());  // back in the queue: it keeps its turn
  CHECK(turns.has_turn(JobId(2), task));
  CHECK(turns.leaves(JobId(1), task) == Ids{JobId(3)});
  CHECK(turns.leaves(JobId(4), task).empty());  // cancelled before its turn
  CHECK(turns.leaves(JobId(2), task) == Ids{JobId(5)});
  CHECK(turns.leaves(JobId(3), task).empty());
  CHECK(turns.leaves(JobId(5), task).empty());
  CHECK(turns.leaves(JobId(5), task).empty());
}

TEST_CASE("array turns: a held job gives its turn away and stands in line again when it is released") {
  ArrayTurns turns;
  const auto task = two_at_a_time();
  for (const int id : {1, 2, 3, 4}) (void)turns.waits(JobId(id), task);
  CHECK(turns.leaves(JobId(1), task) == Ids{JobId(3)});
  CHECK(turns.waits(JobId(1), task).empty());
  CHECK(turns.leaves(JobId(2), task) == Ids{JobId(1)});  // by number, not by when it came
}

TEST_CASE("array turns: those that run when the head starts have their turn, also when they are too many") {
  ArrayTurns turns;
  const auto task = two_at_a_time();
  for (const int id : {1, 2, 3}) turns.runs(JobId(id), task);
  CHECK(turns.waits(JobId(4), task).empty());
  CHECK(turns.leaves(JobId(1), task).empty());
  CHECK(turns.leaves(JobId(2), task) == Ids{JobId(4)});
}

TEST_CASE("array turns: without a limit everybody has a turn") {
  ArrayTurns turns;
  auto task = two_at_a_time();
  task.max_running = 0;
  CHECK(turns.waits(JobId(1), task).empty());
  CHECK(turns.has_turn(JobId(1), task));
  CHECK(turns.has_turn(JobId(9), task));
}

}  // namespace array_turns_test
