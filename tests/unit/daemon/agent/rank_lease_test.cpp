#include "daemon/agent/rank_lease.h"

#include "tests/support/catch.h"

#include <chrono>

namespace rank_lease_test {

using namespace std::chrono_literals;
using rtrain::agent::rank_lease;

TEST_CASE("rank_lease: no rank that is left alone outlives what the head counts on") {
  // lease 60 s, heartbeat 2 s, granted at 100 s: the head gives the node up at 164 s at the earliest.
  CHECK(rank_lease(100s, 100s, 60s, 2s, 60s) == 60s);
  CHECK(rank_lease(110s, 100s, 60s, 2s, 60s) == 52s);  // the head has been away for 10 s
  // an agent that is killed now leaves no rank that runs at 164 s
  CHECK(rank_lease(155s, 100s, 60s, 2s, 60s) == 7s);
  CHECK(rank_lease(170s, 100s, 60s, 2s, 60s) == 0s);
  CHECK(rank_lease(100s, 100s, 60s, 2s, 600s) == 62s);  // worker_lease_s cannot stretch it
  CHECK(rank_lease(100s, 100s, 60s, 2s, 5s) == 5s);
}

}  // namespace rank_lease_test
