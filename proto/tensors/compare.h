// How far the numbers of two tensors are apart.
#pragma once

#include "proto/tensors/tensor.h"

namespace rtrain::tensors {

struct Distance {
  std::uint64_t differing = 0;  ///< elements; a NaN is like a NaN
  double max_abs = 0;           ///< of |a - b|; infinite where just one is NaN or infinite
  double max_rel = 0;           ///< of |a - b| / max(|a|, |b|)
};

/// Of two tensors of one shape; their dtypes may differ. Reads both once.
[[nodiscard]] Result<Distance> compare(const Tensor& a, const Tensor& b);

}  // namespace rtrain::tensors
