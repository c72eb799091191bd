#include "worker/parallel/ring_schedule.h"

namespace rtrain::parallel {

Chunks chunks_of(int rank, int ranks, SequenceOrder order) {
  if (order == SequenceOrder::kContiguous) return {{rank}, ranks};
  return {{rank, 2 * ranks - 1 - rank}, 2 * ranks};
}

RingBlock ring_block(int rank, int owner, std::int64_t length, bool is_causal, SequenceOrder order) {
  if (!is_causal) return {0, length, false};
  if (owner == rank) return {0, length, true};
  if (order == SequenceOrder::kContiguous) return owner < rank ? RingBlock{0, length, false} : RingBlock{};
  // An earlier rank's first chunk is before both chunks of this one, and its last chunk after them. A later
  // rank's chunks are both between the two of this one.
  return owner < rank ? RingBlock{0, length / 2, false} : RingBlock{length / 2, length, false};
}

}  // namespace rtrain::parallel
