// Lengths of time in files and messages are seconds, a double; in the programs they are durations.
#pragma once

#include <chrono>
#include <cstdint>

namespace rtrain {

/// Cut to whole milliseconds. `seconds` is at most 9e15 either way: who takes it from outside has checked its range.
[[nodiscard]] constexpr std::chrono::milliseconds to_milliseconds(double seconds) { return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000)); }

}  // namespace rtrain
