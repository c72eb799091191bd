// Points of ROC and precision-recall curves.
#pragma once

#include <torch/types.h>

#include <vector>

namespace rtrain::metrics {

/// float64. x and y of the curve, and the threshold of each point.
struct Curve {
  torch::Tensor x, y, thresholds;
};

/// Exact. @param preds [M], float. @param positive [M], bool.
[[nodiscard]] Curve roc_points(const torch::Tensor& preds, const torch::Tensor& positive);
/// x: recall, y: precision. @param no_ones no target of the data is 1: recall counts as 1 then, with a
/// warning.
[[nodiscard]] Curve precision_recall_points(const torch::Tensor& preds, const torch::Tensor& positive,
                                            bool no_ones);

/// From a table [T, ..., 2, 2] of counts [true, predicted]: x and y are [..., T].
[[nodiscard]] Curve roc_points_of_table(const torch::Tensor& table, const torch::Tensor& thresholds);
/// x and y are [..., T + 1].
[[nodiscard]] Curve precision_recall_points_of_table(const torch::Tensor& table,
                                                     const torch::Tensor& thresholds);

}  // namespace rtrain::metrics
