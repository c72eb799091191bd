// Metrics of numbers. Sums are float64 whatever the inputs are. preds and target have the same shape; where
// there is num_outputs: [N] or [N, 1] with 1, [N, K] with K.
#pragma once

#include <rtrain/export.h>
#include <rtrain/metrics/metric.h>

#include <torch/types.h>

#include <cstdint>
#include <string>

namespace rtrain::metrics {

/// A sum of an error of each element, divided by the number of samples.
class RTRAIN_API ErrorMetric : public PredictionMetric {
 protected:
  /// @throws std::invalid_argument num_outputs below 1.
  ErrorMetric(std::string name, std::int64_t num_outputs);
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  /// float64, of the shape of its inputs
  [[nodiscard]] virtual torch::Tensor error(const torch::Tensor& preds,
                                            const torch::Tensor& target) const = 0;
  [[nodiscard]] MetricOutput value() const override;
  [[nodiscard]] torch::Tensor mean() const;

  std::int64_t num_outputs_;
  torch::Tensor &sum_, &total_;  // [] or [K]; the number of samples
};

struct RTRAIN_API MeanSquaredErrorOptions {
  bool squared = true;  ///< false: its root (RMSE)
  std::int64_t num_outputs = 1;
};
class RTRAIN_API MeanSquaredError : public ErrorMetric {
 public:
  explicit MeanSquaredError(MeanSquaredErrorOptions options = {})
      : ErrorMetric("MeanSquaredError", options.num_outputs), squared_(options.squared) {}

 protected:
  [[nodiscard]] torch::Tensor error(const torch::Tensor& preds, const torch::Tensor& target) const override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  bool squared_;
};

/// Columns of predictions and targets; each has a value of its own.
struct RTRAIN_API OutputsOptions {
  std::int64_t num_outputs = 1;
};
/// mean(abs(preds - target)).
class RTRAIN_API MeanAbsoluteError : public ErrorMetric {
 public:
  explicit MeanAbsoluteError(OutputsOptions options = {})
      : ErrorMetric("MeanAbsoluteError", options.num_outputs) {}

 protected:
  [[nodiscard]] torch::Tensor error(const torch::Tensor& preds, const torch::Tensor& target) const override;
};

/// |p - t| / max(|t|, 1.17e-6)
class RTRAIN_API MeanAbsolutePercentageError : public ErrorMetric {
 public:
  MeanAbsolutePercentageError() : ErrorMetric("MeanAbsolutePercentageError", 1) {}

 protected:
  [[nodiscard]] torch::Tensor error(const torch::Tensor& preds, const torch::Tensor& target) const override;
};

/// 2 |p - t| / max(|t| + |p|, 1.17e-6)
class RTRAIN_API SymmetricMeanAbsolutePercentageError : public ErrorMetric {
 public:
  SymmetricMeanAbsolutePercentageError() : ErrorMetric("SymmetricMeanAbsolutePercentageError", 1) {}

 protected:
  [[nodiscard]] torch::Tensor error(const torch::Tensor& preds, const torch::Tensor& target) const override;
};

/// (log(1 + p) - log(1 + t))^2
class RTRAIN_API MeanSquaredLogError : public ErrorMetric {
 public:
  MeanSquaredLogError() : ErrorMetric("MeanSquaredLogError", 1) {}

 protected:
  [[nodiscard]] torch::Tensor error(const torch::Tensor& preds, const torch::Tensor& target) const override;
};

/// log(cosh(p - t)); large differences do not overflow.
class RTRAIN_API LogCoshError : public ErrorMetric {
 public:
  explicit LogCoshError(OutputsOptions options = {}) : ErrorMetric("LogCoshError", options.num_outputs) {}

 protected:
  [[nodiscard]] torch::Tensor error(const torch::Tensor& preds, const torch::Tensor& target) const override;
};

/// (sum |p - t|^p)^(1/p). @throws std::invalid_argument p below 1.
class RTRAIN_API MinkowskiDistance : public ErrorMetric {
 public:
  explicit MinkowskiDistance(double p);

 protected:
  [[nodiscard]] torch::Tensor error(const torch::Tensor& preds, const torch::Tensor& target) const override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  double p_;
};

/// Of several outputs: their mean, a value each [K], or their mean by the variance of the target.
enum class Multioutput { kUniformAverage, kRawValues, kVarianceWeighted };

struct RTRAIN_API R2ScoreOptions {
  Multioutput multioutput = Multioutput::kUniformAverage;
  std::int64_t adjusted = 0;  ///< number of independent regressors; 0: not adjusted
  std::int64_t num_outputs = 1;
};
/// 1 - rss / tss. A sum within 1e-4 of 0 counts as 0: rss 0 gives 1, else tss 0 gives 0. NaN without a
/// sample.
class RTRAIN_API R2Score : public PredictionMetric {
 public:
  explicit R2Score(R2ScoreOptions options = {});

 protected:
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  /// @throws std::invalid_argument one sample.
  [[nodiscard]] MetricOutput value() const override;

 private:
  R2ScoreOptions options_;
  torch::Tensor &sum_squared_, &sum_, &residual_, &total_;
};

struct RTRAIN_API RelativeSquaredErrorOptions {
  bool squared = true;  ///< false: its root
  std::int64_t num_outputs = 1;
};
/// rss / tss, the mean of the outputs.
class RTRAIN_API RelativeSquaredError : public PredictionMetric {
 public:
  explicit RelativeSquaredError(RelativeSquaredErrorOptions options = {});

 protected:
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  RelativeSquaredErrorOptions options_;
  torch::Tensor &sum_squared_, &sum_, &residual_, &total_;
};

struct RTRAIN_API ExplainedVarianceOptions {
  Multioutput multioutput = Multioutput::kUniformAverage;
  std::int64_t num_outputs = 1;
};
/// 1 - Var(t - p) / Var(t)
class RTRAIN_API ExplainedVariance : public PredictionMetric {
 public:
  explicit ExplainedVariance(ExplainedVarianceOptions options = {});

 protected:
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  ExplainedVarianceOptions options_;
  torch::Tensor &sum_error_, &sum_squared_error_, &sum_target_, &sum_squared_target_, &total_;
};

/// Means and co-moments of two series. Parts are put together as by Chan, Golub and LeVeque (1983): no
/// difference of large sums.
class RTRAIN_API MomentsMetric : public PredictionMetric {
 protected:
  MomentsMetric(std::string name, std::int64_t num_outputs);
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  /// Pearson's r; NaN where a series does not vary, or there are fewer than two samples.
  [[nodiscard]] torch::Tensor correlation() const;

  std::int64_t num_outputs_;
  torch::Tensor &mean_x_, &mean_y_, &dev_x_, &dev_y_, &var_x_, &var_y_, &cov_,
      &total_;  // [K]; var: sums of squares
};

/// Pearson's r of predictions and targets; NaN where one does not vary.
class RTRAIN_API PearsonCorrCoef : public MomentsMetric {
 public:
  explicit PearsonCorrCoef(OutputsOptions options = {})
      : MomentsMetric("PearsonCorrCoef", options.num_outputs) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// 2 r sx sy / (sx^2 + sy^2 + (mx - my)^2) (Lin 1989)
class RTRAIN_API ConcordanceCorrCoef : public MomentsMetric {
 public:
  explicit ConcordanceCorrCoef(OutputsOptions options = {})
      : MomentsMetric("ConcordanceCorrCoef", options.num_outputs) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// Keeps all samples.
class RTRAIN_API RankMetric : public PredictionMetric {
 protected:
  RankMetric(std::string name, std::int64_t num_outputs);
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  [[nodiscard]] MetricOutput value() const override;
  /// of two series of one dimension
  [[nodiscard]] virtual torch::Tensor coefficient(const torch::Tensor& x, const torch::Tensor& y) const = 0;

  std::int64_t num_outputs_;
  torch::Tensor &preds_, &target_;  // [M, K]
};

/// Pearson's r of the ranks; equal values share their mean rank.
class RTRAIN_API SpearmanCorrCoef : public RankMetric {
 public:
  explicit SpearmanCorrCoef(OutputsOptions options = {})
      : RankMetric("SpearmanCorrCoef", options.num_outputs) {}

 protected:
  [[nodiscard]] torch::Tensor coefficient(const torch::Tensor& x, const torch::Tensor& y) const override;
};

/// Tau-b: concordant less discordant pairs, ties taken into account. Time grows with the square of the
/// samples.
class RTRAIN_API KendallRankCorrCoef : public RankMetric {
 public:
  explicit KendallRankCorrCoef(OutputsOptions options = {})
      : RankMetric("KendallRankCorrCoef", options.num_outputs) {}

 protected:
  [[nodiscard]] torch::Tensor coefficient(const torch::Tensor& x, const torch::Tensor& y) const override;
};

/// Of the values of samples: their sum, their mean, or all of them.
enum class Reduction { kSum, kMean, kNone };

/// A value of each row of [N, D] inputs.
class RTRAIN_API RowMetric : public PredictionMetric {
 protected:
  RowMetric(std::string name, Reduction reduction);
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  /// [N, D] float64 twice -> [N]
  [[nodiscard]] virtual torch::Tensor of_rows(const torch::Tensor& a, const torch::Tensor& b) const = 0;
  [[nodiscard]] MetricOutput value() const override;

 private:
  Reduction reduction_;
  torch::Tensor &rows_, &total_;  // the sum, or all; the number of rows
};

/// The cosine of the angle between the rows of predictions and targets.
struct RTRAIN_API CosineSimilarityOptions {
  Reduction reduction = Reduction::kSum;
};
class RTRAIN_API CosineSimilarity : public RowMetric {
 public:
  explicit CosineSimilarity(CosineSimilarityOptions options = {})
      : RowMetric("CosineSimilarity", options.reduction) {}

 protected:
  [[nodiscard]] torch::Tensor of_rows(const torch::Tensor& a, const torch::Tensor& b) const override;
};

struct RTRAIN_API KLDivergenceOptions {
  bool log_prob = false;  ///< the inputs are log probabilities; else rows are divided by their sums
  Reduction reduction = Reduction::kMean;
};
/// sum p log(p / q): update(p, q)
class RTRAIN_API KLDivergence : public RowMetric {
 public:
  explicit KLDivergence(KLDivergenceOptions options = {})
      : RowMetric("KLDivergence", options.reduction), log_prob_(options.log_prob) {}

 protected:
  [[nodiscard]] torch::Tensor of_rows(const torch::Tensor& p, const torch::Tensor& q) const override;

 private:
  bool log_prob_;
};

}  // namespace rtrain::metrics
