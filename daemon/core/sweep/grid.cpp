#include "daemon/core/sweep/space.h"

#include <algorithm>

namespace rtrain::core {
namespace {

std::int64_t size_of(const std::vector<std::size_t>& axes, const Space& space) {
  std::int64_t size = 1;
  for (const auto i : axes) {
    size *= static_cast<std::int64_t>(space[i].count);
    if (size > Grid::kPointsMax) return Grid::kPointsMax + 1;
  }
  return size;
}

/// The axes of `which` at mixed-radix number `index`, the first the most significant digit.
void put_digits(std::int64_t index, const std::vector<std::size_t>& which, const Space& space, Point& point) {
  for (auto i = which.rbegin(); i != which.rend(); ++i) {
    const auto& axis = space[*i];
    const auto count = static_cast<std::int64_t>(axis.count);
    point[*i] = std::min(axis.low + static_cast<double>(index % count) * axis.step, axis.high);
    index /= count;
  }
}

}  // namespace

Point Grid::outer_point(std::int64_t index) const {
  Point point(space_.size());
  put_digits(index, outer_, space_, point);
  return point;
}

Result<Grid> Grid::of(const Space& space) {
  Grid grid(space);
  for (std::size_t i = 0; i < space.size(); ++i) {
    if (space[i].kind == AxisKind::kContinuous)
      return fail(
          Errc::kInvalidArgument,
          space.parameters()[i].path + ": a grid needs values; give it a step, or write choice or grid");
    (space[i].condition ? grid.inner_ : grid.outer_).push_back(i);
  }
  const auto too_many = fail(Errc::kLimit, "the grid has more than " + std::to_string(kPointsMax) +
                                               " points; use random, sobol or tpe");
  const auto outer = size_of(grid.outer_, space);
  if (outer > kPointsMax) return too_many;
  std::int64_t begin = 0;
  for (std::int64_t index = 0; index < outer; ++index) {
    grid.begins_.push_back(begin);
    const auto point = grid.outer_point(index);
    std::vector<std::size_t> active;
    for (const auto i : grid.inner_)
      if (space.is_active(i, point)) active.push_back(i);
    begin += size_of(active, space);
    if (begin > kPointsMax) return too_many;
  }
  grid.begins_.push_back(begin);
  return grid;
}

Point Grid::point(std::int64_t index) const {
  const auto next = std::ranges::upper_bound(begins_, index);
  const auto outer = next - begins_.begin() - 1;
  auto point = outer_point(outer);
  std::vector<std::size_t> active;
  for (const auto i : inner_)
    if (space_.is_active(i, point)) active.push_back(i);
  put_digits(index - begins_[static_cast<std::size_t>(outer)], active, space_, point);
  return space_.masked(std::move(point));
}

}  // namespace rtrain::core
