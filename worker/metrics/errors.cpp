// Means of an error of each element.
#include "worker/metrics/number_inputs.h"

#include <torch/torch.h>

#include <cmath>
#include <numbers>
#include <stdexcept>

namespace rtrain::metrics {
namespace {

constexpr double kSmallest = 1.17e-6;  // what stands for a target of 0

}  // namespace

ErrorMetric::ErrorMetric(std::string name, std::int64_t num_outputs)
    : PredictionMetric(std::move(name)),
      num_outputs_(checked_outputs(this->name(), num_outputs)),
      sum_(add_state("sum", sums(num_outputs_), Reduce::kSum)),
      total_(add_state("total", torch::zeros({}, torch::kFloat64), Reduce::kSum)) {}

void ErrorMetric::add(const torch::Tensor& preds, const torch::Tensor& target) {
  // Of one output any shape will do: each element is a sample.
  const bool any_shape = num_outputs_ == 1;
  const auto [x, y] =
      any_shape ? elements(name(), preds, target) : columns(name(), num_outputs_, preds, target);
  sum_ = sum_ + (any_shape ? error(x, y).sum() : error(x, y).sum(0));
  total_ = total_ + static_cast<double>(x.size(0));
}

torch::Tensor ErrorMetric::mean() const { return sum_ / total_; }
MetricOutput ErrorMetric::value() const { return mean(); }

torch::Tensor MeanSquaredError::error(const torch::Tensor& preds, const torch::Tensor& target) const {
  return (preds - target).square();
}

MetricOutput MeanSquaredError::value() const { return squared_ ? mean() : mean().sqrt(); }

torch::Tensor MeanAbsoluteError::error(const torch::Tensor& preds, const torch::Tensor& target) const {
  return (preds - target).abs();
}

torch::Tensor MeanAbsolutePercentageError::error(const torch::Tensor& preds,
                                                 const torch::Tensor& target) const {
  return (preds - target).abs() / target.abs().clamp_min(kSmallest);
}

torch::Tensor SymmetricMeanAbsolutePercentageError::error(const torch::Tensor& preds,
                                                          const torch::Tensor& target) const {
  return 2 * (preds - target).abs() / (target.abs() + preds.abs()).clamp_min(kSmallest);
}

torch::Tensor MeanSquaredLogError::error(const torch::Tensor& preds, const torch::Tensor& target) const {
  return (preds.log1p() - target.log1p()).square();
}

torch::Tensor LogCoshError::error(const torch::Tensor& preds, const torch::Tensor& target) const {
  const auto size = (preds - target).abs();
  return size + (-2 * size).exp().log1p() - std::numbers::ln2;
}

MinkowskiDistance::MinkowskiDistance(double p) : ErrorMetric("MinkowskiDistance", 1), p_(p) {
  if (!(p >= 1)) throw std::invalid_argument("MinkowskiDistance: p is " + shown(p) + ", expected 1 or more");
}

torch::Tensor MinkowskiDistance::error(const torch::Tensor& preds, const torch::Tensor& target) const {
  return (preds - target).abs().pow(p_);
}

MetricOutput MinkowskiDistance::value() const { return sum_.pow(1 / p_); }

}  // namespace rtrain::metrics
