#include "worker/runtime/run_within.h"

#include "tests/support/catch.h"

#include <future>
#include <stdexcept>

namespace run_within_test {

using namespace rtrain::runtime;
using namespace std::chrono_literals;

TEST_CASE("run_within: waits, throws what the work threw, and gives up in time", "[unit][runtime]") {
  bool done = false;
  run_within(10s, "too late", [&] { done = true; });
  CHECK(done);
  CHECK_THROWS_AS(run_within(10s, "too late", [] { throw std::logic_error("of the work"); }),
                  std::logic_error);
  std::promise<void> never;  // its end lets the thread go that is left behind
  CHECK_THROWS_WITH(run_within(20ms, "too late", [waits = never.get_future().share()] { waits.wait(); }),
                    "too late");
}

}  // namespace run_within_test
