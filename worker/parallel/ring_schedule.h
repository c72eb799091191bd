// Which part of the keys a rank attends to in each step of a ring.
#pragma once

#include <rtrain/export.h>
#include <rtrain/parallel/context.h>

#include <cstdint>
#include <vector>

namespace rtrain::parallel {

/// The chunks of a sequence that a rank has, in its order, of `of` equal ones.
struct Chunks {
  std::vector<int> own;
  int of = 1;
};
[[nodiscard]] RTRAIN_API Chunks chunks_of(int rank, int ranks, SequenceOrder order);

/// The rank whose keys are here after `step` of `ranks` steps.
[[nodiscard]] constexpr int key_owner(int rank, int step, int ranks) {
  return (rank + ranks - step % ranks) % ranks;
}

/// Queries [first_query, length) of this rank attend to keys [0, keys) of the owner.
struct RingBlock {
  std::int64_t first_query = 0;
  std::int64_t keys = 0;   ///< 0: there is nothing to do
  bool is_causal = false;  ///< query i to keys 0 to i; else each to all of them
  friend bool operator==(const RingBlock&, const RingBlock&) = default;
};

/// @param length of a rank's part; even with kZigzag and is_causal.
[[nodiscard]] RTRAIN_API RingBlock ring_block(int rank, int owner, std::int64_t length, bool is_causal,
                                              SequenceOrder order);

}  // namespace rtrain::parallel
