#include "worker/runtime/step_rate.h"

#include "tests/support/catch.h"

namespace step_rate_test {

using rtrain::runtime::StepRate;
using namespace std::chrono_literals;

TEST_CASE("step rate: measured from the steps that a loop says it has done", "[unit][runtime]") {
  StepRate rate;
  const StepRate::Clock::time_point begin{};
  CHECK(rate.at("train", 0, 1, begin) == 0);         // nothing to measure from
  CHECK(rate.at("train", 0, 2, begin + 10ms) == 0);  // too short a look
  CHECK(rate.at("train", 0, 11, begin + 100ms) == Approx(100));
  CHECK(rate.at("train", 0, 11, begin + 900ms) == Approx(100));  // told again: no step since
  CHECK(rate.at("train", 0, 31, begin + 1100ms) == Approx(20));
  CHECK(rate.at("train", 1, 1, begin + 1150ms) == Approx(20));  // another epoch: the last one known
  CHECK(rate.at("train", 1, 2, begin + 1250ms) == Approx(10));
  CHECK(rate.at("validate", 1, 1, begin + 1300ms) == 0);  // another kind of step
  CHECK(rate.at("validate", 1, 3, begin + 1400ms) == Approx(20));
}

}  // namespace step_rate_test
