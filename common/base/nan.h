// How a number that is none is shown.
#pragma once

#include <cmath>
#include <limits>

namespace rtrain {

/// The value, of a NaN without its sign: that says nothing, differs from processor to processor, and would be
/// shown as "-nan".
[[nodiscard]] inline double unsigned_nan(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
}

}  // namespace rtrain
