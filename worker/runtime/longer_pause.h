// How long a thread sleeps between two looks into the job's key-value store.
#pragma once

#include <algorithm>
#include <chrono>

namespace rtrain::runtime {

/// An eighth of what it has waited so far, 1 to 50 ms: who comes at once is seen at once, and one that never
/// comes costs 20 looks a second.
[[nodiscard]] inline std::chrono::milliseconds longer_pause(std::chrono::milliseconds waited) {
  return std::clamp(waited / 8, std::chrono::milliseconds(1), std::chrono::milliseconds(50));
}

}  // namespace rtrain::runtime
