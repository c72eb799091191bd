// The time of day for what must not follow a clock that jumps: ages of what is deleted, time limits over a
// restart, begin times.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace rtrain::os {

/// What the clocks of this machine say at one moment.
struct ClockReading {
  std::chrono::steady_clock::time_point steady{};
  std::int64_t wall_ms = 0;  ///< milliseconds since 1970, as somebody or NTP set it
  std::int64_t boot_ms = 0;  ///< since the machine's boot, sleep included
  std::string boot;          ///< boot_id()
  /// the kernel was told by an NTP service that the clock is right, and nobody has set it by hand since
  bool synchronised = false;
  [[nodiscard]] static ClockReading now();
};

/// What a process that ends leaves to the next one.
struct ClockRecord {
  std::int64_t ms = 0;       ///< the time that it counted
  std::int64_t boot_ms = 0;  ///< at that moment; of no meaning without `boot`
  std::string boot;          ///< "" unknown
};
/// Nothing where there is none, or none that can be read.
[[nodiscard]] std::optional<ClockRecord> read_clock_record(const std::string& path);
[[nodiscard]] bool write_clock_record(const std::string& path, const ClockRecord& record);

/// Follows the machine's clock as long as that goes as a clock goes. After a jump of more than kJump it
/// counts on by the monotonic clock and doubts the other one, until that is back, or until NTP has held it
/// for kConfirm. Between two processes in one boot of the machine a jump is found exactly. Over a boot nobody
/// knows for how long the machine was off: up to kOffMax is believed, and going back never.
/// @thread one
class TrustedClock {
 public:
  static constexpr std::chrono::minutes kJump{1}, kConfirm{10};
  static constexpr std::chrono::hours kOffMax{72};

  /// @param accept  takes the machine's clock as it is, at this start
  TrustedClock(const ClockReading& start, const std::optional<ClockRecord>& before, bool accept = false);

  [[nodiscard]] std::int64_t now_ms(std::chrono::steady_clock::time_point steady) const;
  /// To be called about once a second. True when doubt() has begun or ended.
  bool look(const ClockReading& reading);
  /// "the clock of this machine is 3650 days ahead"; "" while it is trusted.
  [[nodiscard]] std::string doubt() const;
  [[nodiscard]] ClockRecord record(const ClockReading& reading) const;

 private:
  void follow(const ClockReading& reading);
  std::int64_t anchor_ms_ = 0;
  std::chrono::steady_clock::time_point anchor_{};
  std::optional<std::int64_t> ahead_ms_;  ///< of the clock that is doubted
  std::optional<std::chrono::steady_clock::time_point> synchronised_since_;
};

}  // namespace rtrain::os
