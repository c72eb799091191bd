#include <rtrain/metrics/aggregation.h>

#include "worker/metrics/shown.h"
#include "worker/run/warn.h"
#include "worker/runtime/problems.h"

#include <torch/torch.h>

#include <limits>
#include <stdexcept>

namespace rtrain::metrics {
namespace {

constexpr auto kInfinity = std::numeric_limits<double>::infinity();

torch::Tensor number(double value = 0) { return torch::scalar_tensor(value, torch::kFloat64); }

}  // namespace

ValueMetric::ValueMetric(std::string name, AggregationOptions options)
    : Metric(std::move(name)),
      nan_(options.nan_strategy),
      nans_(add_state("nans", torch::zeros({}, torch::kInt64), Reduce::kSum)) {}

void ValueMetric::update(const torch::Tensor& value, const torch::Tensor& weight) {
  const torch::NoGradGuard no_grad;
  Problems problems;
  if (!value.defined()) problems.add("the value is an undefined tensor");
  for (const auto* tensor : {&value, &weight}) {
    if (tensor->defined() && tensor->device() != device())
      problems.add((tensor == &value ? "the value is on " : "the weight is on ") + tensor->device().str() +
                   ", the metric on " + device().str() + ": move one of them with to(device)");
  }
  if (value.defined() && weight.defined() && !at::is_expandable_to(weight.sizes(), value.sizes()))
    problems.add("the weight has shape " + shape_of(weight) + ", which does not broadcast to the value's " +
                 shape_of(value));
  problems.throw_if_any(name() + ".update()");

  auto values = value.detach().to(torch::kFloat64).reshape({-1});
  auto weights = weight.defined() ? weight.detach().to(torch::kFloat64).expand(value.sizes()).reshape({-1})
                                  : torch::ones_like(values);
  auto keep = torch::ones_like(values, torch::kBool);
  if (nan_.rule != Nan::kDisable) {
    const auto is_nan = values.isnan().logical_or(weights.isnan());
    if (nan_.rule == Nan::kError && is_nan.any().item<bool>())
      throw std::invalid_argument(name() + ".update(): a value or its weight is NaN");
    if (nan_.instead) {
      values = values.masked_fill(is_nan, *nan_.instead);
      weights = weights.masked_fill(is_nan, 1);
    } else {
      // Told by compute(): a look at them here would wait for a GPU.
      if (nan_.rule == Nan::kWarn) nans_ = nans_ + is_nan.sum();
      keep = is_nan.logical_not();
    }
  }
  if (values.numel() > 0) add(values, weights, keep);
  count_update();
}

void ValueMetric::update(double value, double weight) {
  const auto options = torch::dtype(torch::kFloat64).device(device());
  update(torch::scalar_tensor(value, options), torch::scalar_tensor(weight, options));
}

MetricOutput ValueMetric::operator()(const torch::Tensor& value, const torch::Tensor& weight) {
  return forward([&] { update(value, weight); });
}

MetricOutput ValueMetric::operator()(double value, double weight) {
  const auto options = torch::dtype(torch::kFloat64).device(device());
  return (*this)(torch::scalar_tensor(value, options), torch::scalar_tensor(weight, options));
}

void ValueMetric::warn_of_nans() const {
  if (nan_.rule != Nan::kWarn || warned_of_nans_) return;
  const auto nans = nans_.item<std::int64_t>();
  if (nans == 0) return;
  warned_of_nans_ = true;
  warn(name() + ": " + std::to_string(nans) +
       " value(s) or weights were NaN and are left out; nan_strategy = Nan::kIgnore does so silently");
}

MeanMetric::MeanMetric(AggregationOptions options)
    : ValueMetric("MeanMetric", options),
      sum_(add_state("sum", number(), Reduce::kSum)),
      weight_(add_state("weight", number(), Reduce::kSum)) {}

void MeanMetric::add(const torch::Tensor& values, const torch::Tensor& weights, const torch::Tensor& keep) {
  sum_ = sum_ + (values * weights).where(keep, number().to(device())).sum();
  weight_ = weight_ + weights.where(keep, number().to(device())).sum();
}

MetricOutput MeanMetric::value() const {
  warn_of_nans();
  return sum_ / weight_;
}

SumMetric::SumMetric(AggregationOptions options)
    : ValueMetric("SumMetric", options), sum_(add_state("sum", number(), Reduce::kSum)) {}

void SumMetric::add(const torch::Tensor& values, const torch::Tensor&, const torch::Tensor& keep) {
  sum_ = sum_ + values.where(keep, number().to(device())).sum();
}

MetricOutput SumMetric::value() const {
  warn_of_nans();
  return sum_;
}

MinMetric::MinMetric(AggregationOptions options)
    : ValueMetric("MinMetric", options), min_(add_state("min", number(kInfinity), Reduce::kMin)) {}

void MinMetric::add(const torch::Tensor& values, const torch::Tensor&, const torch::Tensor& keep) {
  min_ = torch::minimum(min_, values.where(keep, number(kInfinity).to(device())).min());
}

MetricOutput MinMetric::value() const {
  warn_of_nans();
  return min_;
}

MaxMetric::MaxMetric(AggregationOptions options)
    : ValueMetric("MaxMetric", options), max_(add_state("max", number(-kInfinity), Reduce::kMax)) {}

void MaxMetric::add(const torch::Tensor& values, const torch::Tensor&, const torch::Tensor& keep) {
  max_ = torch::maximum(max_, values.where(keep, number(-kInfinity).to(device())).max());
}

MetricOutput MaxMetric::value() const {
  warn_of_nans();
  return max_;
}

CatMetric::CatMetric(AggregationOptions options)
    : ValueMetric("CatMetric", options),
      values_(add_state("values", torch::empty({0}, torch::kFloat64), Reduce::kCat)) {}

void CatMetric::add(const torch::Tensor& values, const torch::Tensor&, const torch::Tensor& keep) {
  append(values_, values.masked_select(keep));
}

MetricOutput CatMetric::value() const {
  warn_of_nans();
  return values_;
}

namespace {

std::int64_t checked_window(std::int64_t window) {
  if (window < 1)
    throw std::invalid_argument("RunningMean: window is " + std::to_string(window) + ", expected 1 or more");
  return window;
}

}  // namespace

RunningMean::RunningMean(std::int64_t window, AggregationOptions options)
    : ValueMetric("RunningMean", options),
      window_(checked_window(window)),
      sums_(add_state("sums", torch::zeros({window_}, torch::kFloat64), Reduce::kSum)),
      weights_(add_state("weights", torch::zeros({window_}, torch::kFloat64), Reduce::kSum)) {}

void RunningMean::add(const torch::Tensor& values, const torch::Tensor& weights, const torch::Tensor& keep) {
  const auto zero = number().to(device());
  const auto slot = torch::arange(window_, device()).eq(update_count() % window_);
  sums_ = torch::where(slot, (values * weights).where(keep, zero).sum(), sums_);
  weights_ = torch::where(slot, weights.where(keep, zero).sum(), weights_);
}

MetricOutput RunningMean::value() const {
  warn_of_nans();
  return sums_.sum() / weights_.sum();
}

MetricOutput RunningMean::operator()(const torch::Tensor& value, const torch::Tensor& weight) {
  update(value, weight);  // an update is in one slot, whose mean is that of the batch
  const auto slot = (update_count() - 1) % window_;
  return keep_batch_value(sums_[slot] / weights_[slot]);
}

}  // namespace rtrain::metrics
