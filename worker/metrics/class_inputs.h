// Predictions and targets of a classification as decisions.
#pragma once

#include "worker/runtime/problems.h"

#include <rtrain/metrics/classification.h>

#include <torch/types.h>

#include <optional>
#include <string>

namespace rtrain::metrics {

/// @throws std::invalid_argument every problem of the options at once, after "<name>: ". `more`: found
/// before.
[[nodiscard]] ClassificationOptions checked(const std::string& name, const ClassificationOptions& options,
                                            Problems more = {});
/// "" for kBinary, "num_classes=10", ...
[[nodiscard]] std::string text_of(const ClassificationOptions& options);

/// What a float prediction may be beside a decision: probabilities are needed, or classes will do.
enum class Wants { kDecisions, kScores };
/// @throws std::invalid_argument shapes or types that the task does not have, all at once.
void check_inputs(const std::string& name, const ClassificationOptions& options, Wants wants,
                  const torch::Tensor& preds, const torch::Tensor& target);

/// Sigmoid of all, when one of those with `mask` (undefined: of all) lies outside [0, 1].
[[nodiscard]] torch::Tensor sigmoid_if_needed(const torch::Tensor& preds, const torch::Tensor& mask);
/// The same by softmax over dimension 1.
[[nodiscard]] torch::Tensor softmax_if_needed(const torch::Tensor& preds);
/// Positive decisions, bool. `mask`: as above.
[[nodiscard]] torch::Tensor decisions(const torch::Tensor& preds, double threshold,
                                      const torch::Tensor& mask);
/// Targets that count, bool; undefined: all.
[[nodiscard]] torch::Tensor counted(const torch::Tensor& target,
                                    const std::optional<std::int64_t>& ignore_index);

/// num / den in float64; `otherwise` where den is 0.
[[nodiscard]] torch::Tensor divided(const torch::Tensor& num, const torch::Tensor& den, double otherwise = 0);

}  // namespace rtrain::metrics
