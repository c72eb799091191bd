// What parameters of random transforms must be, and how they become whole numbers.
#pragma once

#include <rtrain/data/transforms/image_options.h>

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace rtrain::data::transforms {

/// Python's int(round(value)): half to even.
[[nodiscard]] inline std::int64_t rounded(double value) {
  return static_cast<std::int64_t>(std::nearbyint(value));
}

/// @throws std::invalid_argument unless least <= range.min <= range.max <= most.
inline void require_range(const std::string& name, Range range, double least, double most) {
  if (least <= range.min && range.min <= range.max && range.max <= most) return;
  throw std::invalid_argument(name + " is {" + std::to_string(range.min) + ", " + std::to_string(range.max) +
                              "}, expected two rising numbers from " + std::to_string(least) +
                              (std::isinf(most) ? std::string(" on") : " to " + std::to_string(most)));
}

/// Of rectangles: parts of an area, and shapes.
inline void require_shape_ranges(const std::string& name, Range scale, Range ratio) {
  require_range(name + ": scale", scale, 0, INFINITY);
  require_range(name + ": ratio", ratio, 0, INFINITY);
  if (ratio.min <= 0) throw std::invalid_argument(name + ": ratio begins at 0, expected more");
}

}  // namespace rtrain::data::transforms
