// Errors in proportion to how much the target varies.
#include "worker/metrics/number_inputs.h"
#include "worker/metrics/warnings.h"

#include <torch/torch.h>

#include <limits>
#include <stdexcept>

namespace rtrain::metrics {
namespace {

torch::Tensor none() { return torch::zeros({}, torch::kFloat64); }

/// 1 where the error is 0, else 0 where the target does not vary, else 1 - error / variation.
torch::Tensor scores(const torch::Tensor& error, const torch::Tensor& variation,
                     const torch::Tensor& no_error, const torch::Tensor& no_variation) {
  const auto score = torch::where(no_variation, torch::zeros_like(error), 1 - error / variation);
  return torch::where(no_error, torch::ones_like(error), score);
}

torch::Tensor combined(Multioutput multioutput, const torch::Tensor& scores, const torch::Tensor& variation) {
  switch (multioutput) {
    case Multioutput::kUniformAverage: return scores.mean();
    case Multioutput::kRawValues: return scores;
    case Multioutput::kVarianceWeighted: return (variation / variation.sum() * scores).sum();
  }
  return scores;
}

}  // namespace

R2Score::R2Score(R2ScoreOptions options)
    : PredictionMetric("R2Score"),
      options_(options),
      sum_squared_(
          add_state("sum_squared", sums(checked_outputs(name(), options.num_outputs)), Reduce::kSum)),
      sum_(add_state("sum", sums(options.num_outputs), Reduce::kSum)),
      residual_(add_state("residual", sums(options.num_outputs), Reduce::kSum)),
      total_(add_state("total", none(), Reduce::kSum)) {
  if (options.adjusted < 0)
    throw std::invalid_argument("R2Score: adjusted is " + std::to_string(options.adjusted) +
                                ", expected 0 or more");
}

void R2Score::add(const torch::Tensor& preds, const torch::Tensor& target) {
  const auto [x, y] = columns(name(), options_.num_outputs, preds, target);
  sum_squared_ = sum_squared_ + y.square().sum(0);
  sum_ = sum_ + y.sum(0);
  residual_ = residual_ + (y - x).square().sum(0);
  total_ = total_ + static_cast<double>(y.size(0));
}

MetricOutput R2Score::value() const {
  constexpr double kZero = 1e-4;
  const auto samples = total_.item<double>();
  if (samples == 0) return sum_ / total_;
  if (samples < 2)
    throw std::invalid_argument(
        "R2Score.compute(): there is one sample, and it takes two: the variance of one is 0");
  const auto variation = sum_squared_ - sum_ * (sum_ / total_);
  const auto raw = scores(residual_, variation, residual_.abs().le(kZero), variation.abs().le(kZero));
  const auto value = combined(options_.multioutput, raw, variation);
  const auto adjusted = static_cast<double>(options_.adjusted);
  if (options_.adjusted == 0) return value;
  if (adjusted >= samples - 1) {
    warn_once("R2Score: adjusted = " + std::to_string(options_.adjusted) + " takes more than " +
              std::to_string(options_.adjusted + 1) + " samples; the score is not adjusted");
    return value;
  }
  return 1 - (1 - value) * ((samples - 1) / (samples - adjusted - 1));
}

RelativeSquaredError::RelativeSquaredError(RelativeSquaredErrorOptions options)
    : PredictionMetric("RelativeSquaredError"),
      options_(options),
      sum_squared_(
          add_state("sum_squared", sums(checked_outputs(name(), options.num_outputs)), Reduce::kSum)),
      sum_(add_state("sum", sums(options.num_outputs), Reduce::kSum)),
      residual_(add_state("residual", sums(options.num_outputs), Reduce::kSum)),
      total_(add_state("total", none(), Reduce::kSum)) {}

void RelativeSquaredError::add(const torch::Tensor& preds, const torch::Tensor& target) {
  const auto [x, y] = columns(name(), options_.num_outputs, preds, target);
  sum_squared_ = sum_squared_ + y.square().sum(0);
  sum_ = sum_ + y.sum(0);
  residual_ = residual_ + (y - x).square().sum(0);
  total_ = total_ + static_cast<double>(y.size(0));
}

MetricOutput RelativeSquaredError::value() const {
  const auto variation =
      (sum_squared_ - sum_ * (sum_ / total_)).clamp_min(std::numeric_limits<double>::epsilon());
  const auto value = residual_ / variation;
  return (options_.squared ? value : value.sqrt()).mean();
}

ExplainedVariance::ExplainedVariance(ExplainedVarianceOptions options)
    : PredictionMetric("ExplainedVariance"),
      options_(options),
      sum_error_(add_state("sum_error", sums(checked_outputs(name(), options.num_outputs)), Reduce::kSum)),
      sum_squared_error_(add_state("sum_squared_error", sums(options.num_outputs), Reduce::kSum)),
      sum_target_(add_state("sum_target", sums(options.num_outputs), Reduce::kSum)),
      sum_squared_target_(add_state("sum_squared_target", sums(options.num_outputs), Reduce::kSum)),
      total_(add_state("total", none(), Reduce::kSum)) {}

void ExplainedVariance::add(const torch::Tensor& preds, const torch::Tensor& target) {
  const auto [x, y] = columns(name(), options_.num_outputs, preds, target);
  const auto error = y - x;
  sum_error_ = sum_error_ + error.sum(0);
  sum_squared_error_ = sum_squared_error_ + error.square().sum(0);
  sum_target_ = sum_target_ + y.sum(0);
  sum_squared_target_ = sum_squared_target_ + y.square().sum(0);
  total_ = total_ + static_cast<double>(y.size(0));
}

MetricOutput ExplainedVariance::value() const {
  const auto unexplained = sum_squared_error_ / total_ - (sum_error_ / total_).square();
  const auto variation = sum_squared_target_ / total_ - (sum_target_ / total_).square();
  return combined(options_.multioutput, scores(unexplained, variation, unexplained.eq(0), variation.eq(0)),
                  variation);
}

}  // namespace rtrain::metrics
