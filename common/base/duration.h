// Lengths of time in files and messages are seconds, a double; in the programs they are durations.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace rtrain {

/// Longer waits are waits for ever: some 100 years. A clock's reading and this still fit into 64 bits of
/// nanoseconds.
inline constexpr double kSecondsMax = 3e9;

/// `seconds` cut to kSecondsMax either way; NaN is 0. What a cast to a whole number is defined for.
[[nodiscard]] constexpr double bounded_seconds(double seconds) {
  return seconds != seconds ? 0 : std::clamp(seconds, -kSecondsMax, kSecondsMax);
}

/// Cut to whole milliseconds, and to kSecondsMax. Total: any double may come.
[[nodiscard]] constexpr std::chrono::milliseconds to_milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(bounded_seconds(seconds) * 1000));
}

}  // namespace rtrain
