#include "worker/runtime/profile_point.h"

#include "tests/support/catch.h"

namespace profile_point_test {

using namespace rtrain::runtime;
using namespace std::chrono_literals;

namespace {

constexpr ProfilePoint::Clock::time_point kNow{1000s};

ProfilePoint::Request request(std::int64_t number) { return {number, 20, kNow + 60s}; }

}  // namespace

TEST_CASE("profile point: a request goes to the training thread once, and the next one after its end") {
  ProfilePoint point;
  point.in_fit(true);
  CHECK(!point.asked());
  CHECK(!point.take());
  CHECK(!point.ask(request(1), kNow));
  CHECK(point.asked());
  CHECK(point.ask(request(2), kNow)->number == 2);
  const auto taken = point.take();
  REQUIRE(taken);
  CHECK(taken->number == 1);
  CHECK(taken->steps == 20);
  CHECK(point.asked());  // until it is done
  CHECK(!point.take());
  CHECK(point.ask(request(3), kNow)->why == "the rank is being profiled already");
  point.done();
  CHECK(!point.asked());
  CHECK(!point.ask(request(4), kNow));
  CHECK(point.take()->number == 4);
}

TEST_CASE("profile point: a process that begins no fit gives the request back after ten seconds") {
  ProfilePoint point;
  CHECK(!point.ask(request(1), kNow));
  CHECK(!point.expire(kNow + 9s));
  SECTION("unless a fit begins") {
    point.in_fit(true);
    CHECK(!point.expire(kNow + 20s));
    CHECK(point.take());
  }
  SECTION("and can be asked again") {
    const auto late = point.expire(kNow + 10s);
    REQUIRE(late);
    CHECK(late->number == 1);
    CHECK(late->why.find("in no Trainer::fit()") != std::string::npos);
    CHECK(!point.asked());
    CHECK(!point.take());
    CHECK(!point.ask(request(2), kNow + 11s));
  }
}

TEST_CASE(
    "profile point: a fit whose batches do not begin in time gives it back too; one that is served stays") {
  ProfilePoint point;
  point.in_fit(true);
  CHECK(!point.ask(request(1), kNow));
  CHECK(!point.expire(kNow + 59s));
  CHECK(point.expire(kNow + 60s)->why.find("no training batch began in time") != std::string::npos);
  CHECK(!point.ask(request(2), kNow));
  CHECK(point.take());
  CHECK(!point.expire(kNow + 1h));
}

}  // namespace profile_point_test
