// Whether two ranks on this machine can reduce over loopback, for `rtrain doctor`.
#pragma once

#include <array>
#include <chrono>

namespace rtrain::comm {

struct LoopbackReduction {
  std::array<float, 2> sums{};  ///< what each of the two got for 1 + 2
  double ms = 0;                ///< from nothing to both sums
};
/// Two threads of this process, over Gloo on 127.0.0.1.
/// @throws what Gloo throws; after `limit` at the latest.
[[nodiscard]] LoopbackReduction reduce_over_loopback(std::chrono::milliseconds limit);

}  // namespace rtrain::comm
