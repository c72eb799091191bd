#include "worker/runtime/pulse.h"

#include "proto/record/places.h"
#include "tests/support/catch.h"

namespace pulse_test {

using namespace rtrain;
using namespace std::chrono_literals;
using runtime::HangWatch;
using runtime::Pulse;

namespace {

const Pulse::Clock::time_point kBegin{1000s};

Pulse::Reading at(Pulse::Clock::time_point last) {
  Pulse::Reading reading;
  reading.last = last;
  reading.has_beaten = true;
  reading.stage = "train";
  reading.epoch = 2;
  reading.step = 7;
  return reading;
}

/// Looks every quarter of a second. When the first word came, in ms after kBegin.
std::optional<std::int64_t> first_word(HangWatch& watch, const Pulse::Reading& reading,
                                       std::chrono::milliseconds until,
                                       std::chrono::milliseconds from = 0ms) {
  for (auto t = from; t <= until; t += 250ms)
    if (watch.look(reading, kBegin + t)) return t.count();
  return std::nullopt;
}

}  // namespace

TEST_CASE("hang watch: a silence is told once, with the place", "[unit][runtime]") {
  HangWatch watch(kBegin, 2s, false);
  CHECK(first_word(watch, at(kBegin + 1s), 2750ms) == std::nullopt);
  auto reading = at(kBegin + 1s);
  reading.collective = "all_reduce";
  reading.collective_seq = 41;
  reading.in_collective = true;
  const auto word = watch.look(reading, kBegin + 3s);
  REQUIRE(word);
  CHECK(std::tuple(word->stage, word->epoch, word->step) == std::tuple("train", 2, 7));
  CHECK(std::tuple(word->collective, word->collective_seq, word->in_collective) ==
        std::tuple("all_reduce", 41, true));
  CHECK(word->silent_s == 2);
  CHECK(first_word(watch, reading, 9s, 3250ms) == std::nullopt);
  // It moves, and stops again: another silence.
  CHECK(first_word(watch, at(kBegin + 9s), 20s, 9250ms) == 11'000);
}

TEST_CASE(
    "hang watch: a function that reports nothing may compute as long as it likes, unless the job says "
    "otherwise",
    "[unit][runtime]") {
  Pulse::Reading mute;
  mute.last = kBegin;
  HangWatch watch(kBegin, 2s, false), strict(kBegin, 2s, true);
  CHECK(first_word(watch, mute, 60s) == std::nullopt);
  CHECK(first_word(strict, mute, 60s) == 2000);
  mute.in_collective = true;
  CHECK(watch.look(mute, kBegin + 61s));
}

TEST_CASE("hang watch: a process that was asleep was not silent meanwhile", "[unit][runtime]") {
  HangWatch watch(kBegin, 4s, true);
  CHECK(first_word(watch, at(kBegin), 1s) == std::nullopt);
  CHECK_FALSE(watch.look(at(kBegin), kBegin + 1h));  // stopped, or its machine was
  CHECK(first_word(watch, at(kBegin), 1h + 20s, 1h) == std::chrono::milliseconds(1h + 3s).count());
}

TEST_CASE("hang watch: a rank that has returned waits for the others as long as they need",
          "[unit][runtime]") {
  HangWatch watch(kBegin, 2s, true);
  auto reading = at(kBegin);
  reading.watched = false;
  CHECK(first_word(watch, reading, 60s) == std::nullopt);
}

TEST_CASE("pulse: collectives are counted, also when one throws", "[unit][runtime]") {
  Pulse pulse;
  CHECK_FALSE(pulse.read().has_beaten);
  try {
    const Pulse::InCollective waiting(pulse, "barrier");
    CHECK(pulse.read().in_collective);
    throw 1;
  } catch (int) {
  }
  pulse.step("train", 1, 5);
  const auto now = pulse.read();
  CHECK_FALSE(now.in_collective);
  CHECK(std::tuple(std::string(now.collective), now.collective_seq, now.step, now.has_beaten) ==
        std::tuple("barrier", 1, 5, true));
}

TEST_CASE(
    "hang watch: a rank that waits in report(), or loads its library, is told of although it never made a "
    "step",
    "[unit][runtime][F16]") {
  Pulse::Reading reading;
  reading.last = kBegin;
  reading.report = 3;
  HangWatch in_report(kBegin, 2s, false);
  REQUIRE(first_word(in_report, reading, 1750ms) == std::nullopt);
  auto word = in_report.look(reading, kBegin + 2s);
  REQUIRE(word.has_value());
  CHECK(word->collective == proto::kReportAsPlace);
  CHECK(word->collective_seq == 3);
  CHECK(word->in_collective);
  reading.report = 0;
  HangWatch silent(kBegin, 2s, false);
  CHECK(first_word(silent, reading, 4s) == std::nullopt);
  reading.loading = true;
  HangWatch loading(kBegin, 2s, false);
  REQUIRE(first_word(loading, reading, 1750ms) == std::nullopt);
  word = loading.look(reading, kBegin + 2s);
  REQUIRE(word.has_value());
  CHECK(word->stage == proto::kLoadStage);
}

}  // namespace pulse_test
