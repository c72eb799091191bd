// How far the numbers of two tensors are apart.
#pragma once

#include "proto/tensors/tensor.h"

namespace rtrain::tensors {

/// What counts as the same: |a - b| <= max(atol, rtol * max(|a|, |b|)), Python's math.isclose(). It does not
/// depend on which of the two comes first, and a `rtol` of what was found as max_rel accepts it. Nothing is
/// close to a NaN but a NaN, and nothing to an infinity but itself.
struct Tolerance {
  double rtol = 0, atol = 0;  ///< finite, not negative
};

struct Distance {
  std::uint64_t differing = 0;  ///< elements that are farther apart than the tolerance; a NaN is like a NaN
  double max_abs = 0;           ///< of |a - b|, of all elements; infinite where just one is NaN or infinite
  double max_rel = 0;           ///< of |a - b| / max(|a|, |b|)
};

/// Of two tensors of one shape; their dtypes may differ. Reads both once, in pieces.
[[nodiscard]] Result<Distance> compare(const Tensor& a, const Tensor& b, const Tolerance& tolerance = {});

}  // namespace rtrain::tensors
