#include "common/os/trusted_clock.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <fstream>

namespace trusted_clock_test {

using namespace rtrain;
using namespace rtrain::os;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t kNow = 1'800'000'000'000, kHour = 3'600'000, kDay = 24 * kHour;

/// A machine whose clocks a test moves.
struct Machine {
  ClockReading reading{std::chrono::steady_clock::time_point(100h), kNow, 50 * kHour, "boot-1", false};
  ClockReading after(std::chrono::milliseconds time) {
    reading.steady += time;
    reading.wall_ms += time.count();
    reading.boot_ms += time.count();
    return reading;
  }
  ClockReading jump(std::int64_t ms) {
    reading.wall_ms += ms;
    return reading;
  }
  ClockReading reboot(std::int64_t off_ms) {
    reading.boot = "boot-2";
    reading.boot_ms = 60'000;
    reading.wall_ms += off_ms + 60'000;
    reading.steady = std::chrono::steady_clock::time_point(60s);
    return reading;
  }
};

}  // namespace

TEST_CASE("trusted clock: it follows a clock that is slewed, or set by less than a minute", "[F47]") {
  Machine machine;
  TrustedClock clock(machine.reading, std::nullopt);
  for (const std::int64_t ms : {-900, 400, 30'000, -50'000}) {
    machine.jump(ms);
    CHECK_FALSE(clock.look(machine.after(1s)));
    CHECK(clock.now_ms(machine.reading.steady) == machine.reading.wall_ms);
  }
}

TEST_CASE("trusted clock: a jump while it runs is not followed, until it is taken back", "[F47]") {
  Machine machine;
  TrustedClock clock(machine.reading, std::nullopt);
  const std::int64_t jump = GENERATE(3650 * kDay, -3650 * kDay, 2 * kHour, -90'000);
  const auto right = machine.reading.wall_ms;
  machine.jump(jump);
  CHECK(clock.look(machine.after(10s)));
  CHECK(clock.now_ms(machine.reading.steady) == right + 10'000);
  CHECK(clock.doubt().find(jump > 0 ? "ahead" : "behind") != std::string::npos);
  CHECK_FALSE(clock.look(machine.after(24h)));
  CHECK(clock.now_ms(machine.reading.steady) == right + 10'000 + kDay);
  machine.jump(-jump);
  CHECK(clock.look(machine.after(1s)));
  CHECK(clock.doubt().empty());
}

TEST_CASE("trusted clock: what NTP has held for ten minutes is followed", "[F47]") {
  Machine machine;
  TrustedClock clock(machine.reading, std::nullopt);
  machine.jump(2 * kDay);
  CHECK(clock.look(machine.after(1s)));
  machine.reading.synchronised = true;
  CHECK_FALSE(clock.look(machine.after(1s)));
  CHECK_FALSE(clock.look(machine.after(9min)));
  machine.reading.synchronised = false;
  CHECK_FALSE(clock.look(machine.after(9min)));  // counted anew
  machine.reading.synchronised = true;
  CHECK_FALSE(clock.look(machine.after(1s)));
  CHECK(clock.look(machine.after(10min)));
  CHECK(clock.doubt().empty());
  CHECK(clock.now_ms(machine.reading.steady) == machine.reading.wall_ms);
}

TEST_CASE("trusted clock: a jump between two processes of one boot is found exactly", "[F47]") {
  Machine machine;
  const auto before = TrustedClock(machine.reading, std::nullopt).record(machine.reading);
  machine.after(std::chrono::milliseconds(40 * kDay));
  CHECK(TrustedClock(machine.reading, before).doubt().empty());
  const std::int64_t jump = GENERATE(as<std::int64_t>{}, kHour, -kHour, 3650 * kDay);
  const auto right = machine.reading.wall_ms;
  machine.jump(jump);
  const TrustedClock clock(machine.reading, before);
  CHECK_FALSE(clock.doubt().empty());
  CHECK(clock.now_ms(machine.reading.steady) == right);
  CHECK(TrustedClock(machine.reading, before, true).doubt().empty());  // accepted
}

TEST_CASE("trusted clock: over a boot a machine may have been off for three days, and time does not go back",
          "[F47]") {
  Machine machine;
  const auto before = TrustedClock(machine.reading, std::nullopt).record(machine.reading);
  const auto last = machine.reading.wall_ms;
  SECTION("a weekend") {
    const TrustedClock clock(machine.reboot(60 * kHour), before);
    CHECK(clock.doubt().empty());
  }
  SECTION("ten years ahead") {
    const TrustedClock clock(machine.reboot(3650 * kDay), before);
    CHECK(clock.doubt() == "the clock of this machine is 3650 days ahead");
    CHECK(clock.now_ms(machine.reading.steady) == last + 60'000);
  }
  SECTION("no battery: 1970") {
    machine.reboot(0);
    machine.reading.wall_ms = 60'000;
    const TrustedClock clock(machine.reading, before);
    CHECK_FALSE(clock.doubt().empty());
    CHECK(clock.now_ms(machine.reading.steady) == last + 60'000);
  }
  SECTION("only the journal tells of the time before") {
    machine.after(10h);
    CHECK(TrustedClock(machine.reading, ClockRecord{last, 0, ""}).doubt().empty());
    machine.jump(3650 * kDay);
    CHECK_FALSE(TrustedClock(machine.reading, ClockRecord{last, 0, ""}).doubt().empty());
  }
}

TEST_CASE("trusted clock: what one process leaves, the next one reads; what cannot be read is nothing",
          "[F47]") {
  const test::TempDir folder;
  const auto path = (folder / "clock").string();
  CHECK_FALSE(read_clock_record(path));
  REQUIRE(write_clock_record(path, {kNow, 17, "boot-1"}));
  const auto read = read_clock_record(path);
  REQUIRE(read);
  CHECK(read->ms == kNow);
  CHECK(read->boot_ms == 17);
  CHECK(read->boot == "boot-1");
  std::ofstream(path) << "half";
  CHECK_FALSE(read_clock_record(path));
}

}  // namespace trusted_clock_test
