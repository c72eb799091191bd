// The curves of a metric's states.
#pragma once

#include "worker/metrics/curve_points.h"

#include <rtrain/metrics/curves.h>

#include <torch/types.h>

#include <optional>
#include <vector>

namespace rtrain::metrics {

/// One curve, or of a table those of all classes, in `together`; exact ones of classes or labels in `apart`.
struct CurveSet {
  std::optional<Curve> together;
  std::vector<Curve> apart;
};

/// @param table null: the curves are exact, of preds and target. @param roc false: precision and recall.
[[nodiscard]] CurveSet curves_of(const CurveOptions& options, const torch::Tensor& thresholds,
                                 const torch::Tensor* table, const torch::Tensor* preds,
                                 const torch::Tensor* target, bool roc);

}  // namespace rtrain::metrics
