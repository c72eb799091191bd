// Where the parameters of a flat group lie, and which elements each rank holds. Knows no tensors.
#pragma once

#include <rtrain/export.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rtrain::sharding {

/// Parameters one after the other, each at an aligned offset, cut into one part of equal size a rank. All
/// numbers are elements.
class RTRAIN_API FlatLayout {
 public:
  /// @param numels of each parameter, 0 or more. @param alignment 1 or more: of each parameter and of each
  /// part. @param ranks 1 or more.
  FlatLayout(std::vector<std::int64_t> numels, std::int64_t alignment, int ranks);

  [[nodiscard]] std::size_t count() const { return numels_.size(); }
  [[nodiscard]] int ranks() const { return ranks_; }
  [[nodiscard]] std::int64_t numel(std::size_t parameter) const { return numels_[parameter]; }
  [[nodiscard]] std::int64_t offset(std::size_t parameter) const { return offsets_[parameter]; }
  /// Of one rank, gaps included.
  [[nodiscard]] std::int64_t part() const { return part_; }
  /// Of all ranks.
  [[nodiscard]] std::int64_t whole() const { return part_ * ranks_; }

  /// What a rank holds of a parameter: a contiguous range, possibly empty.
  struct Piece {
    std::int64_t in_parameter = 0;  ///< its first element within the parameter
    std::int64_t in_part = 0;       ///< and within the rank's part
    std::int64_t size = 0;
  };
  [[nodiscard]] Piece piece(std::size_t parameter, int rank) const;

 private:
  std::vector<std::int64_t> numels_, offsets_;
  std::int64_t part_ = 0;
  int ranks_ = 1;
};

/// `value`, rounded up to a multiple of `step`.
[[nodiscard]] constexpr std::int64_t rounded_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace rtrain::sharding
