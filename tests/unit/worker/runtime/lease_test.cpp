#include "worker/runtime/lease.h"

#include "tests/support/catch.h"

namespace lease_test {

using namespace std::chrono_literals;
using rtrain::runtime::Lease;

TEST_CASE("lease: runs out when nothing was heard for its length", "[unit][runtime]") {
  const Lease::Time start{};
  Lease lease(start, 1000ms);
  for (auto t = 0ms; t <= 1000ms; t += 100ms) CHECK_FALSE(lease.expired(start + t));
  CHECK(lease.expired(start + 1100ms));
}

TEST_CASE("lease: goes on for as long as the agent says", "[unit][runtime]") {
  const Lease::Time start{};
  Lease lease(start, 1000ms);
  for (auto t = 0ms; t <= 5000ms; t += 100ms) {
    if (t.count() % 900 == 0) lease.renew(start + t, 1000ms);
    CHECK_FALSE(lease.expired(start + t));
  }
  lease.renew(start + 5000ms, 300ms);  // the head is away
  CHECK_FALSE(lease.expired(start + 5300ms));
  CHECK(lease.expired(start + 5400ms));
}

TEST_CASE("lease: a process that was asleep looks once more before it believes", "[unit][runtime]") {
  const Lease::Time start{};
  Lease lease(start, 1000ms);
  CHECK_FALSE(lease.expired(start + 100ms));
  // stopped for a minute: what the agent said meanwhile is not read yet
  CHECK_FALSE(lease.expired(start + 60s));
  CHECK(lease.expired(start + 60s + 100ms));  // and there was nothing
  Lease renewed(start, 1000ms);
  CHECK_FALSE(renewed.expired(start + 60s));
  renewed.renew(start + 60s, 1000ms);
  CHECK_FALSE(renewed.expired(start + 60s + 100ms));
}

}  // namespace lease_test
