#include "worker/sharding/flat_layout.h"

#include <algorithm>
#include <utility>

namespace rtrain::sharding {

FlatLayout::FlatLayout(std::vector<std::int64_t> numels, std::int64_t alignment, int ranks)
    : numels_(std::move(numels)), ranks_(ranks) {
  std::int64_t end = 0;
  for (const auto numel : numels_) {
    offsets_.push_back(end);
    end += rounded_up(numel, alignment);
  }
  part_ = rounded_up((end + ranks - 1) / ranks, alignment);
}

FlatLayout::Piece FlatLayout::piece(std::size_t parameter, int rank) const {
  const auto begin = offsets_[parameter], end = begin + numels_[parameter];
  const auto part_begin = rank * part_;
  const auto first = std::clamp(part_begin, begin, end), last = std::clamp(part_begin + part_, begin, end);
  if (first == last) return {};
  return {first - begin, first - part_begin, last - first};
}

}  // namespace rtrain::sharding
