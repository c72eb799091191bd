#include "daemon/head/head_clock.h"

#include "common/log/log.h"

namespace rtrain::head {
namespace {

using namespace std::chrono_literals;

constexpr auto kLookEach = 1s, kKeepEach = 60s;

std::optional<os::ClockRecord> known_before(const std::string& path, std::int64_t newest_ms) {
  if (auto record = os::read_clock_record(path)) return record;
  if (newest_ms > 0) return os::ClockRecord{newest_ms, 0, ""};
  return std::nullopt;
}

}  // namespace

HeadClock::HeadClock(const std::string& state_dir, std::int64_t newest_ms, bool accept)
    : path_(state_dir + "/clock"),
      reading_(os::ClockReading::now()),
      trusted_(reading_, known_before(path_, newest_ms), accept),
      looked_(reading_.steady),
      kept_(reading_.steady) {
  if (!trusted_.doubt().empty()) say();
  keep();
}

HeadClock::~HeadClock() { keep(); }

void HeadClock::say() const {
  const auto doubt = trusted_.doubt();
  if (doubt.empty())
    return log::warn("the machine's clock is trusted again",
                     {{"now", proto::rfc3339(trusted_.now_ms(reading_.steady))}});
  log::warn(
      "the machine's clock cannot be trusted: no job is forgotten by age, and times of the day are counted "
      "on from before",
      {{"cause", doubt},
       {"clock", proto::rfc3339(reading_.wall_ms)},
       {"counted", proto::rfc3339(trusted_.now_ms(reading_.steady))},
       {"hint",
        "correct the clock; it is taken when NTP has held it for 10 minutes, or at a start with "
        "accept_clock"}});
}

void HeadClock::keep() {
  reading_ = os::ClockReading::now();
  if (!os::write_clock_record(path_, trusted_.record(reading_)))
    log::warn("the time cannot be written down; the next start knows less of the clock", {{"file", path_}});
}

void HeadClock::look(SteadyTime now) {
  if (now - looked_ < kLookEach) return;
  looked_ = now;
  reading_ = os::ClockReading::now();
  if (trusted_.look(reading_)) say();
  if (now - kept_ < kKeepEach) return;
  kept_ = now;
  keep();
}

Clock HeadClock::clock() {
  return {&std::chrono::steady_clock::now,
          [this] { return trusted_.now_ms(std::chrono::steady_clock::now()); },
          [this] { return trusted_.doubt(); }};
}

}  // namespace rtrain::head
