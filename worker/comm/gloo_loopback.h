// Checks, for `rtrain doctor`, whether two ranks on this machine can reduce over loopback.
#pragma once

#include <array>
#include <chrono>

namespace rtrain::comm {

struct LoopbackReduction {
  std::array<float, 2> sums{};  ///< the result of 1 + 2 on each of the two ranks
  double ms = 0;                ///< from the start until both sums are known
};
/// Runs the two ranks as threads of this process, over Gloo on 127.0.0.1.
/// @throws what Gloo throws, after `limit` at the latest.
[[nodiscard]] LoopbackReduction reduce_over_loopback(std::chrono::milliseconds limit);

}  // namespace rtrain::comm
