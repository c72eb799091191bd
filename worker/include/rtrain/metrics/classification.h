// Metrics of decisions: counts of true and false positives and negatives, and what is made of them.
#pragma once

#include <rtrain/export.h>
#include <rtrain/metrics/metric.h>

#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace rtrain::metrics {

/// What preds and target are, here and in curves.h. N samples, "..." any further dimensions:
/// kBinary      preds [N, ...], float or 0 and 1; target [N, ...], 0 and 1
/// kMulticlass  preds [N, C, ...], float, or classes [N, ...]; target [N, ...], 0 to C-1
/// kMultilabel  preds [N, L, ...], float or 0 and 1; target [N, L, ...], 0 and 1
/// Floats of kBinary and kMultilabel become probabilities by sigmoid when one of the batch lies outside [0,
/// 1]; above the threshold is 1, the threshold itself is 0. Of kMulticlass the highest of a sample decides,
/// of equal ones the first. A target outside its range is counted as wrong by micro averages, and left out of
/// the counts of classes; nothing waits for a GPU to look.
enum class Task { kBinary, kMulticlass, kMultilabel };

/// Of the values of classes or labels. kMicro: of all samples as one. kMacro: their mean; of kMulticlass
/// classes that were neither seen nor predicted are left out. kWeighted: their mean by the number of samples
/// (support). kNone: a value a class, [C] or [L]. kBinary has no classes: the average is not looked at.
enum class Average { kMicro, kMacro, kWeighted, kNone };

/// kGlobal: all further dimensions are samples. kSamplewise: a value a sample, [N] or [N, C]; keeps the
/// counts of every sample.
enum class Multidim { kGlobal, kSamplewise };

/// torchmetrics' arguments and defaults of `Accuracy(task=...)` and its like. All with them:
/// @throws std::invalid_argument every problem of the options at once.
struct RTRAIN_API ClassificationOptions {
  Task task = Task::kMulticlass;
  std::int64_t num_classes = 0;  ///< of kMulticlass, 2 or more
  std::int64_t num_labels = 0;   ///< of kMultilabel, 2 or more
  Average average = Average::kMicro;
  /// of kMulticlass with float preds: a sample is right when its class is among the highest top_k
  std::int64_t top_k = 1;
  double threshold = 0.5;  ///< of kBinary and kMultilabel, in [0, 1]
  Multidim multidim_average = Multidim::kGlobal;
  std::optional<std::int64_t> ignore_index{};  ///< targets of this value are left out
  double zero_division = 0;  ///< 0/0 of Precision, Recall and FBeta; 0 or 1. Of the others it is 0
};

/// Counts of true positives, false positives, true negatives and false negatives.
class RTRAIN_API StatScoresMetric : public PredictionMetric {
 public:
  [[nodiscard]] const ClassificationOptions& options() const { return options_; }
  [[nodiscard]] std::string update_key() const override;

 protected:
  StatScoresMetric(std::string name, ClassificationOptions options);
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;

  ClassificationOptions options_;
  torch::Tensor &tp_, &fp_, &tn_, &fn_;  // [], [C] or [L]; samplewise with N before it
};

/// [tp, fp, tn, fn, support] in the last dimension: [5]; kNone [C, 5]; samplewise [N, 5], [N, C, 5].
class RTRAIN_API StatScores : public StatScoresMetric {
 public:
  explicit StatScores(ClassificationOptions options) : StatScoresMetric("StatScores", options) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// Right decisions of all. Multiclass kMacro is the mean of the classes' recalls.
class RTRAIN_API Accuracy : public StatScoresMetric {
 public:
  explicit Accuracy(ClassificationOptions options) : StatScoresMetric("Accuracy", options) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// tp / (tp + fp)
class RTRAIN_API Precision : public StatScoresMetric {
 public:
  explicit Precision(ClassificationOptions options) : StatScoresMetric("Precision", options) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// tp / (tp + fn)
class RTRAIN_API Recall : public StatScoresMetric {
 public:
  explicit Recall(ClassificationOptions options) : StatScoresMetric("Recall", options) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// tn / (tn + fp)
class RTRAIN_API Specificity : public StatScoresMetric {
 public:
  explicit Specificity(ClassificationOptions options) : StatScoresMetric("Specificity", options) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// (1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp)
class RTRAIN_API FBeta : public StatScoresMetric {
 public:
  /// @throws std::invalid_argument beta is not above 0, too.
  FBeta(double beta, ClassificationOptions options) : FBeta("FBeta", beta, options) {}

 protected:
  FBeta(std::string name, double beta, ClassificationOptions options);
  [[nodiscard]] MetricOutput value() const override;

 private:
  double beta_;
};

/// FBeta with beta 1: the harmonic mean of precision and recall.
class RTRAIN_API F1 : public FBeta {
 public:
  explicit F1(ClassificationOptions options) : FBeta("F1", 1, options) {}
};

/// Wrong decisions of all: 1 - Accuracy of each class or label, averaged.
class RTRAIN_API HammingDistance : public StatScoresMetric {
 public:
  explicit HammingDistance(ClassificationOptions options) : StatScoresMetric("HammingDistance", options) {}

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// Samples all of whose classes (kMulticlass [N, ...]) or labels are right. Average and top_k are not looked
/// at. kBinary is refused.
class RTRAIN_API ExactMatch : public PredictionMetric {
 public:
  explicit ExactMatch(ClassificationOptions options);

 protected:
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  ClassificationOptions options_;
  torch::Tensor &correct_, &total_;
};

/// Divides the counts by those of the row (kTrue), the column (kPred) or all; 0/0 is 0.
enum class Normalize { kNone, kTrue, kPred, kAll };

struct RTRAIN_API ConfusionMatrixOptions {
  Task task = Task::kMulticlass;
  std::int64_t num_classes = 0;
  std::int64_t num_labels = 0;
  double threshold = 0.5;
  std::optional<std::int64_t> ignore_index{};
  Normalize normalize = Normalize::kNone;
};

/// Counts of decisions by what was true and what was predicted. Looks at no average.
class RTRAIN_API ConfusionMatrixMetric : public PredictionMetric {
 public:
  [[nodiscard]] std::string update_key() const override;

 protected:
  ConfusionMatrixMetric(std::string name, ClassificationOptions options);
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;

  ClassificationOptions options_;
  torch::Tensor& counts_;  // int64, [true, predicted]; multilabel [L, 2, 2]
};

/// [true, predicted]: kBinary [2, 2] = [[tn, fp], [fn, tp]], kMulticlass [C, C], kMultilabel [L, 2, 2].
class RTRAIN_API ConfusionMatrix : public ConfusionMatrixMetric {
 public:
  explicit ConfusionMatrix(ConfusionMatrixOptions options);

 protected:
  [[nodiscard]] MetricOutput value() const override;

 private:
  Normalize normalize_;
};

/// What a wrong decision weighs: 1, the distance of the classes, or its square.
enum class KappaWeights { kNone, kLinear, kQuadratic };
struct RTRAIN_API CohenKappaOptions {
  Task task = Task::kMulticlass;  ///< kMultilabel is refused
  std::int64_t num_classes = 0;
  double threshold = 0.5;
  std::optional<std::int64_t> ignore_index{};
  KappaWeights weights = KappaWeights::kNone;
};
/// Agreement beyond chance: 1 - observed / expected disagreement (Cohen 1960).
class RTRAIN_API CohenKappa : public ConfusionMatrixMetric {
 public:
  explicit CohenKappa(CohenKappaOptions options);

 protected:
  [[nodiscard]] MetricOutput value() const override;

 private:
  KappaWeights weights_;
};

/// Correlation of truth and prediction (Gorodkin 2004); 0 when one of them is constant. Of two classes, where
/// all decisions are right it is 1, where all are wrong -1. Normalization is not looked at.
class RTRAIN_API MatthewsCorrCoef : public ConfusionMatrixMetric {
 public:
  explicit MatthewsCorrCoef(ConfusionMatrixOptions options);

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

struct RTRAIN_API JaccardOptions {
  Task task = Task::kMulticlass;
  std::int64_t num_classes = 0;
  std::int64_t num_labels = 0;
  Average average = Average::kMacro;
  double threshold = 0.5;
  std::optional<std::int64_t> ignore_index{};  ///< with kMacro the class is left out of the mean, too
  double zero_division = 0;
};
/// Intersection over union: tp / (tp + fp + fn)
class RTRAIN_API Jaccard : public ConfusionMatrixMetric {
 public:
  explicit Jaccard(JaccardOptions options);

 protected:
  [[nodiscard]] MetricOutput value() const override;
};

/// How the gaps of the bins become one number: the mean weighted by samples, its root mean square, the
/// largest.
enum class CalibrationNorm { kL1, kL2, kMax };
struct RTRAIN_API CalibrationErrorOptions {
  Task task = Task::kMulticlass;  ///< kMultilabel is refused
  std::int64_t num_classes = 0;
  std::int64_t n_bins = 15;
  CalibrationNorm norm = CalibrationNorm::kL1;
  std::optional<std::int64_t> ignore_index{};
};
/// How far confidence and accuracy are apart, over bins of confidence (Guo et al. 2017). Float preds only.
/// The bins are sums, so memory does not grow with the samples.
class RTRAIN_API CalibrationError : public PredictionMetric {
 public:
  explicit CalibrationError(CalibrationErrorOptions options);

 protected:
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  ClassificationOptions options_;
  std::int64_t n_bins_;
  CalibrationNorm norm_;
  torch::Tensor &count_, &confidence_, &accuracy_;  // [n_bins + 1]; a confidence of 1 has a bin of its own
};

/// Against the best other class (Crammer and Singer), or each class against the rest.
enum class HingeMode { kCrammerSinger, kOneVsAll };
struct RTRAIN_API HingeLossOptions {
  Task task = Task::kMulticlass;  ///< kMultilabel is refused
  std::int64_t num_classes = 0;
  bool squared = false;
  HingeMode multiclass_mode = HingeMode::kCrammerSinger;
  std::optional<std::int64_t> ignore_index{};
};
/// Mean of max(0, 1 - margin) on probabilities. kOneVsAll: a value a class, [C].
class RTRAIN_API HingeLoss : public PredictionMetric {
 public:
  explicit HingeLoss(HingeLossOptions options);

 protected:
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  ClassificationOptions options_;
  bool squared_, one_vs_all_;
  torch::Tensor &sum_, &total_;
};

}  // namespace rtrain::metrics
