#include "daemon/head/deadlines.h"

#include "tests/support/catch.h"

namespace deadlines_test {

using namespace rtrain;
using namespace rtrain::head;
using namespace std::chrono_literals;

TEST_CASE("deadlines: due ones come in order of time and are gone then") {
  Deadlines deadlines;
  const SteadyTime start{};
  deadlines.set(JobId(1), DueFor::kTimeLimit, start + 30s);
  deadlines.set(JobId(2), DueFor::kRetry, start + 10s);
  deadlines.set(JobId(1), DueFor::kHang, start + 20s);
  CHECK(deadlines.take_due(start + 9s).empty());
  const auto due = deadlines.take_due(start + 20s);
  REQUIRE(due.size() == 2);
  CHECK(due[0].id == JobId(2));
  CHECK(due[1].id == JobId(1));
  CHECK(due[1].what == DueFor::kHang);
  CHECK_FALSE(deadlines.at(JobId(2), DueFor::kRetry).has_value());
  CHECK(deadlines.at(JobId(1), DueFor::kTimeLimit) == start + 30s);
}

TEST_CASE("deadlines: a new one takes the place of the old one, a cleared one never comes") {
  Deadlines deadlines;
  const SteadyTime start{};
  deadlines.set(JobId(1), DueFor::kTimeLimit, start + 10s);
  deadlines.set(JobId(1), DueFor::kTimeLimit, start + 20s);
  CHECK(deadlines.take_due(start + 15s).empty());
  deadlines.clear(JobId(1), DueFor::kTimeLimit);
  deadlines.clear(JobId(1), DueFor::kTimeLimit);
  CHECK(deadlines.take_due(start + 100s).empty());
}

}  // namespace deadlines_test
