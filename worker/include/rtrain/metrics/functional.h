// Metrics of one batch, by the classes' own code: accuracy(preds, target, options) is what Accuracy comes to
// after one update.
#pragma once

#include <rtrain/metrics/classification.h>
#include <rtrain/metrics/curves.h>
#include <rtrain/metrics/regression.h>
#include <rtrain/metrics/text.h>

#include <torch/types.h>

#include <utility>

namespace rtrain::metrics {

/// The value of any metric of this one batch. @throws as its constructor and update().
template <class M, class... Options>
[[nodiscard]] MetricOutput of_batch(const torch::Tensor& preds, const torch::Tensor& target,
                                    Options&&... options) {
  M metric(std::forward<Options>(options)...);
  metric.update(preds, target);
  return metric.compute();
}

[[nodiscard]] inline MetricOutput stat_scores(const torch::Tensor& preds, const torch::Tensor& target,
                                              ClassificationOptions options) {
  return of_batch<StatScores>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput accuracy(const torch::Tensor& preds, const torch::Tensor& target,
                                           ClassificationOptions options) {
  return of_batch<Accuracy>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput precision(const torch::Tensor& preds, const torch::Tensor& target,
                                            ClassificationOptions options) {
  return of_batch<Precision>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput recall(const torch::Tensor& preds, const torch::Tensor& target,
                                         ClassificationOptions options) {
  return of_batch<Recall>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput specificity(const torch::Tensor& preds, const torch::Tensor& target,
                                              ClassificationOptions options) {
  return of_batch<Specificity>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput f1(const torch::Tensor& preds, const torch::Tensor& target,
                                     ClassificationOptions options) {
  return of_batch<F1>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput fbeta(const torch::Tensor& preds, const torch::Tensor& target, double beta,
                                        ClassificationOptions options) {
  return of_batch<FBeta>(preds, target, beta, std::move(options));
}
[[nodiscard]] inline MetricOutput hamming_distance(const torch::Tensor& preds, const torch::Tensor& target,
                                                   ClassificationOptions options) {
  return of_batch<HammingDistance>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput exact_match(const torch::Tensor& preds, const torch::Tensor& target,
                                              ClassificationOptions options) {
  return of_batch<ExactMatch>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput confusion_matrix(const torch::Tensor& preds, const torch::Tensor& target,
                                                   ConfusionMatrixOptions options) {
  return of_batch<ConfusionMatrix>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput cohen_kappa(const torch::Tensor& preds, const torch::Tensor& target,
                                              CohenKappaOptions options) {
  return of_batch<CohenKappa>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput matthews_corrcoef(const torch::Tensor& preds, const torch::Tensor& target,
                                                    ConfusionMatrixOptions options) {
  return of_batch<MatthewsCorrCoef>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput jaccard(const torch::Tensor& preds, const torch::Tensor& target,
                                          JaccardOptions options) {
  return of_batch<Jaccard>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput calibration_error(const torch::Tensor& preds, const torch::Tensor& target,
                                                    CalibrationErrorOptions options) {
  return of_batch<CalibrationError>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput hinge_loss(const torch::Tensor& preds, const torch::Tensor& target,
                                             HingeLossOptions options) {
  return of_batch<HingeLoss>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput auroc(const torch::Tensor& preds, const torch::Tensor& target,
                                        CurveOptions options) {
  return of_batch<AUROC>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput average_precision(const torch::Tensor& preds, const torch::Tensor& target,
                                                    CurveOptions options) {
  return of_batch<AveragePrecision>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput roc(const torch::Tensor& preds, const torch::Tensor& target,
                                      CurveOptions options) {
  return of_batch<ROC>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput precision_recall_curve(const torch::Tensor& preds,
                                                         const torch::Tensor& target, CurveOptions options) {
  return of_batch<PrecisionRecallCurve>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput mean_squared_error(const torch::Tensor& preds, const torch::Tensor& target,
                                                     MeanSquaredErrorOptions options = {}) {
  return of_batch<MeanSquaredError>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput mean_absolute_error(const torch::Tensor& preds, const torch::Tensor& target,
                                                      OutputsOptions options = {}) {
  return of_batch<MeanAbsoluteError>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput mean_absolute_percentage_error(const torch::Tensor& preds,
                                                                 const torch::Tensor& target) {
  return of_batch<MeanAbsolutePercentageError>(preds, target);
}
[[nodiscard]] inline MetricOutput symmetric_mean_absolute_percentage_error(const torch::Tensor& preds,
                                                                           const torch::Tensor& target) {
  return of_batch<SymmetricMeanAbsolutePercentageError>(preds, target);
}
[[nodiscard]] inline MetricOutput r2_score(const torch::Tensor& preds, const torch::Tensor& target,
                                           R2ScoreOptions options = {}) {
  return of_batch<R2Score>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput explained_variance(const torch::Tensor& preds, const torch::Tensor& target,
                                                     ExplainedVarianceOptions options = {}) {
  return of_batch<ExplainedVariance>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput pearson_corrcoef(const torch::Tensor& preds, const torch::Tensor& target,
                                                   OutputsOptions options = {}) {
  return of_batch<PearsonCorrCoef>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput spearman_corrcoef(const torch::Tensor& preds, const torch::Tensor& target,
                                                    OutputsOptions options = {}) {
  return of_batch<SpearmanCorrCoef>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput log_cosh_error(const torch::Tensor& preds, const torch::Tensor& target,
                                                 OutputsOptions options = {}) {
  return of_batch<LogCoshError>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput cosine_similarity(const torch::Tensor& preds, const torch::Tensor& target,
                                                    CosineSimilarityOptions options = {}) {
  return of_batch<CosineSimilarity>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput kl_divergence(const torch::Tensor& preds, const torch::Tensor& target,
                                                KLDivergenceOptions options = {}) {
  return of_batch<KLDivergence>(preds, target, std::move(options));
}
[[nodiscard]] inline MetricOutput perplexity(const torch::Tensor& preds, const torch::Tensor& target,
                                             PerplexityOptions options = {}) {
  return of_batch<Perplexity>(preds, target, std::move(options));
}

}  // namespace rtrain::metrics
