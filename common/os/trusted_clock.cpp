#include "common/os/trusted_clock.h"

#include "common/os/file.h"
#include "common/os/process.h"

#include <cstdlib>
#include <ctime>
#include <sstream>

#include <sys/timex.h>

namespace rtrain::os {
namespace {

using namespace std::chrono;

constexpr std::int64_t ms_of(auto duration) { return duration_cast<milliseconds>(duration).count(); }

std::string span_words(std::int64_t ms) {
  constexpr std::int64_t kHour = 3'600'000, kDay = 24 * kHour;
  ms = std::llabs(ms);
  if (ms >= 2 * kDay) return std::to_string(ms / kDay) + " days";
  if (ms >= 2 * kHour) return std::to_string(ms / kHour) + " hours";
  return std::to_string(ms / 1000) + " s";
}

}  // namespace

ClockReading ClockReading::now() {
  timespec since_boot{};
  ::clock_gettime(CLOCK_BOOTTIME, &since_boot);
  timex kernel{};  // modes is 0: nothing is set
  const bool synchronised = ::ntp_adjtime(&kernel) != TIME_ERROR && (kernel.status & STA_UNSYNC) == 0;
  return {steady_clock::now(), unix_ms_now(), since_boot.tv_sec * 1000LL + since_boot.tv_nsec / 1'000'000,
          boot_id(), synchronised};
}

std::optional<ClockRecord> read_clock_record(const std::string& path) {
  const auto text = read_file(path, 1024);
  if (!text) return std::nullopt;
  std::istringstream words(*text);
  ClockRecord record;
  if (!(words >> record.ms >> record.boot_ms) || record.ms <= 0) return std::nullopt;
  words >> record.boot;
  return record;
}

bool write_clock_record(const std::string& path, const ClockRecord& record) {
  return replace_file(
             path,
             std::to_string(record.ms) + " " + std::to_string(record.boot_ms) + " " + record.boot + "\n",
             0600)
      .has_value();
}

TrustedClock::TrustedClock(const ClockReading& start, const std::optional<ClockRecord>& before, bool accept) {
  follow(start);
  if (!before || accept) return;
  const bool same_boot =
      !before->boot.empty() && before->boot == start.boot && start.boot_ms >= before->boot_ms;
  // At least so late it is; and at most, unless the machine was off for longer.
  const auto earliest = before->ms + (same_boot              ? start.boot_ms - before->boot_ms
                                      : before->boot.empty() ? 0
                                                             : start.boot_ms);
  const auto latest = same_boot ? earliest : before->ms + start.boot_ms + ms_of(kOffMax);
  if (start.wall_ms >= earliest - ms_of(kJump) && start.wall_ms <= latest + ms_of(kJump)) return;
  anchor_ms_ = earliest;
  ahead_ms_ = start.wall_ms - earliest;
}

void TrustedClock::follow(const ClockReading& reading) {
  anchor_ms_ = reading.wall_ms;
  anchor_ = reading.steady;
  ahead_ms_.reset();
  synchronised_since_.reset();
}

std::int64_t TrustedClock::now_ms(steady_clock::time_point steady) const {
  return anchor_ms_ + ms_of(steady - anchor_);
}

bool TrustedClock::look(const ClockReading& reading) {
  const bool doubted = ahead_ms_.has_value();
  const auto ahead = reading.wall_ms - now_ms(reading.steady);
  if (std::llabs(ahead) <= ms_of(kJump)) {
    follow(reading);
    return doubted;
  }
  ahead_ms_ = ahead;
  if (!reading.synchronised)
    synchronised_since_.reset();
  else if (!synchronised_since_)
    synchronised_since_ = reading.steady;
  else if (reading.steady - *synchronised_since_ >= kConfirm) {
    follow(reading);
    return true;
  }
  return !doubted;
}

std::string TrustedClock::doubt() const {
  if (!ahead_ms_) return "";
  return "the clock of this machine is " + span_words(*ahead_ms_) + (*ahead_ms_ > 0 ? " ahead" : " behind");
}

ClockRecord TrustedClock::record(const ClockReading& reading) const {
  return {now_ms(reading.steady), reading.boot_ms, reading.boot};
}

}  // namespace rtrain::os
