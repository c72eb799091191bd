// Metrics over all thresholds: ROC and precision-recall curves, and the areas under them.
#pragma once

#include <rtrain/export.h>
#include <rtrain/metrics/classification.h>
#include <rtrain/metrics/metric.h>

#include <torch/types.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

namespace rtrain::metrics {

/// None: exact, every prediction is kept. A number: so many from 0 to 1, evenly. Or a list, ascending, in
/// [0, 1]. With thresholds a table of counts is kept, whatever the number of samples.
class RTRAIN_API Thresholds {
 public:
  Thresholds() = default;
  Thresholds(int number) : number_(number) {}                       // NOLINT: implicit on purpose
  Thresholds(std::initializer_list<double> list) : list_(list) {}   // NOLINT: implicit on purpose
  Thresholds(std::vector<double> list) : list_(std::move(list)) {}  // NOLINT: implicit on purpose
  [[nodiscard]] std::optional<int> number() const { return number_; }
  [[nodiscard]] const std::vector<double>& list() const { return list_; }
  [[nodiscard]] bool exact() const { return !number_ && list_.empty(); }

 private:
  std::optional<int> number_;
  std::vector<double> list_;
};

/// preds are float; Task says their shapes. Those of kMulticlass become probabilities by softmax when one of
/// the batch lies outside [0, 1].
/// @throws std::invalid_argument every problem of the options at once.
struct RTRAIN_API CurveOptions {
  Task task = Task::kMulticlass;
  std::int64_t num_classes = 0;
  std::int64_t num_labels = 0;
  Thresholds thresholds{};
  Average average = Average::kMacro;  ///< of AUROC and AveragePrecision; kMicro with kMultilabel only
  std::optional<double> max_fpr{};    ///< of AUROC with kBinary, in (0, 1]: partial area (McClish 1989)
  std::optional<std::int64_t> ignore_index{};
  /// Exact curves keep no more samples than this on a rank; update() throws std::runtime_error beyond.
  std::int64_t max_samples = 1'000'000;
};

/// Keeps what curves are made of. An exact update with ignore_index waits for a GPU.
class RTRAIN_API CurveMetric : public PredictionMetric {
 public:
  void reset() override;
  [[nodiscard]] std::string update_key() const override;

 protected:
  CurveMetric(std::string name, CurveOptions options);
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;

  CurveOptions options_;
  torch::Tensor thresholds_;                            // [T], undefined when exact
  torch::Tensor *preds_ = nullptr, *target_ = nullptr;  // exact: [M] or [M, C]; [M] or [M, L]
  torch::Tensor* table_ = nullptr;  // else int64 [T, 2, 2] or [T, C, 2, 2]: [true, predicted]

 private:
  std::int64_t kept_ = 0;  // samples since reset(), also while forward() puts them aside
};

/// "fpr", "tpr", "thresholds", from the highest threshold to the lowest: of kBinary [T]. Of classes or labels
/// exact curves are "fpr_0", "tpr_0", "thresholds_0", ...; with thresholds fpr and tpr are [C, T].
class RTRAIN_API ROC : public CurveMetric {
 public:
  explicit ROC(CurveOptions options) : CurveMetric("ROC", std::move(options)) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// "precision", "recall" [T + 1], "thresholds" [T], from the lowest threshold to the highest; the last point
/// is precision 1, recall 0. Of classes or labels as ROC.
class RTRAIN_API PrecisionRecallCurve : public CurveMetric {
 public:
  explicit PrecisionRecallCurve(CurveOptions options)
      : CurveMetric("PrecisionRecallCurve", std::move(options)) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// Area under the ROC curve by trapezoids; equal predictions are one point. A class without positives or
/// without negatives has area 0, with a warning.
class RTRAIN_API AUROC : public CurveMetric {
 public:
  explicit AUROC(CurveOptions options) : CurveMetric("AUROC", std::move(options)) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// Sum of precision times the step of recall. Means leave out classes whose value is NaN (no positives).
class RTRAIN_API AveragePrecision : public CurveMetric {
 public:
  explicit AveragePrecision(CurveOptions options) : CurveMetric("AveragePrecision", std::move(options)) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

}  // namespace rtrain::metrics
