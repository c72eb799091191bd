// Counts by class.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace rtrain::metrics {

/// True positives, false positives, true negatives and false negatives, of one shape.
struct Counts {
  torch::Tensor tp, fp, tn, fn;
};

/// How often each class stands in each row of labels [R, S]: int64 [R, classes]. Labels outside of the
/// classes, and those without `mask` (undefined: all), are not counted. Does not wait for a GPU.
[[nodiscard]] torch::Tensor class_counts(const torch::Tensor& labels, const torch::Tensor& mask,
                                         std::int64_t classes);

}  // namespace rtrain::metrics
