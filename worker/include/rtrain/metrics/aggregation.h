// Mean, sum, minimum, maximum and all of a stream of values. Results are float64.
#pragma once

#include <rtrain/export.h>
#include <rtrain/metrics/metric.h>

#include <torch/types.h>

#include <cstdint>
#include <optional>

namespace rtrain::metrics {

/// What becomes of a value, or a weight, that is NaN: left out with one warning by compute(), an error, left
/// out, or kept. A number takes its place, with weight 1.
enum class Nan { kWarn, kError, kIgnore, kDisable };
struct RTRAIN_API NanStrategy {
  Nan rule = Nan::kWarn;
  std::optional<double> instead{};
  NanStrategy(Nan given = Nan::kWarn) : rule(given) {}               // NOLINT: implicit on purpose
  NanStrategy(double given) : rule(Nan::kIgnore), instead(given) {}  // NOLINT: implicit on purpose
};
/// Of MeanMetric, SumMetric, MinMetric and MaxMetric.
struct RTRAIN_API AggregationOptions {
  NanStrategy nan_strategy{};
};

/// A metric of values with weights.
class RTRAIN_API ValueMetric : public Metric {
 public:
  /// @param value any shape. @param weight of a shape that broadcasts to it, or undefined: 1. Only the means
  /// look at it.
  /// @throws std::invalid_argument the weight does not fit, a tensor lies on another device than the metric,
  /// or a NaN with Nan::kError (which waits for a GPU).
  void update(const torch::Tensor& value, const torch::Tensor& weight = {});
  void update(double value, double weight = 1);
  /// update(), and the value of this batch alone.
  virtual MetricOutput operator()(const torch::Tensor& value, const torch::Tensor& weight = {});
  MetricOutput operator()(double value, double weight = 1);

 protected:
  ValueMetric(std::string name, AggregationOptions options);
  /// float64 values and weights, of one dimension and the same length; `keep` is false where a value is left
  /// out.
  virtual void add(const torch::Tensor& values, const torch::Tensor& weights, const torch::Tensor& keep) = 0;
  void warn_of_nans() const;

 private:
  NanStrategy nan_;
  torch::Tensor& nans_;
  mutable bool warned_of_nans_ = false;
};

/// Weighted mean; NaN without a value.
class RTRAIN_API MeanMetric : public ValueMetric {
 public:
  explicit MeanMetric(AggregationOptions options = {});

 protected:
  void add(const torch::Tensor& values, const torch::Tensor& weights, const torch::Tensor& keep) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  torch::Tensor &sum_, &weight_;
};

/// Sum; 0 without a value.
class RTRAIN_API SumMetric : public ValueMetric {
 public:
  explicit SumMetric(AggregationOptions options = {});

 protected:
  void add(const torch::Tensor& values, const torch::Tensor& weights, const torch::Tensor& keep) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  torch::Tensor& sum_;
};

/// Infinity without a value.
class RTRAIN_API MinMetric : public ValueMetric {
 public:
  explicit MinMetric(AggregationOptions options = {});

 protected:
  void add(const torch::Tensor& values, const torch::Tensor& weights, const torch::Tensor& keep) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  torch::Tensor& min_;
};

/// Minus infinity without a value.
class RTRAIN_API MaxMetric : public ValueMetric {
 public:
  explicit MaxMetric(AggregationOptions options = {});

 protected:
  void add(const torch::Tensor& values, const torch::Tensor& weights, const torch::Tensor& keep) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  torch::Tensor& max_;
};

/// All values as one dimension, in the order of the updates, rank by rank. An update waits for a GPU.
class RTRAIN_API CatMetric : public ValueMetric {
 public:
  explicit CatMetric(AggregationOptions options = {});

 protected:
  void add(const torch::Tensor& values, const torch::Tensor& weights, const torch::Tensor& keep) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  torch::Tensor& values_;
};

/// Mean of the last `window` updates; with several ranks of each rank's last ones.
class RTRAIN_API RunningMean : public ValueMetric {
 public:
  /// @throws std::invalid_argument window below 1.
  explicit RunningMean(std::int64_t window = 5, AggregationOptions options = {});
  using ValueMetric::operator();
  MetricOutput operator()(const torch::Tensor& value, const torch::Tensor& weight = {}) override;

 protected:
  void add(const torch::Tensor& values, const torch::Tensor& weights, const torch::Tensor& keep) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  std::int64_t window_;
  torch::Tensor &sums_, &weights_;  // [window], slot = number of the update modulo window
};

}  // namespace rtrain::metrics
