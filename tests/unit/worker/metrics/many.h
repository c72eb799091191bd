// One metric of each kind, and batches that all of a family take.
#pragma once

#include <rtrain/metrics.h>

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::test {

using MakeMetric = std::function<std::unique_ptr<PredictionMetric>()>;
struct Kind {
  std::string name;
  MakeMetric make;
  /// A batch of so many samples.
  std::function<std::pair<torch::Tensor, torch::Tensor>(std::int64_t)> batch;
};

inline std::vector<Kind> all_kinds() {
  using namespace rtrain::metrics;
  using metrics::Precision;  // of the Trainer there is one, too
  const auto classes = [](std::int64_t n) {
    return std::pair{torch::randn({n, 4}), torch::randint(4, {n}, torch::kInt64)};
  };
  const auto decisions = [](std::int64_t n) {
    return std::pair{torch::rand({n}), torch::randint(2, {n}, torch::kInt64)};
  };
  const auto labels = [](std::int64_t n) {
    return std::pair{torch::rand({n, 3}), torch::randint(2, {n, 3}, torch::kInt64)};
  };
  const auto pixels = [](std::int64_t n) {
    return std::pair{torch::randn({n, 4, 5}), torch::randint(4, {n, 5}, torch::kInt64)};
  };
  const auto numbers = [](std::int64_t n) {
    const auto x = torch::randn({n}, torch::kFloat64);
    return std::pair{x, 0.5 * x + torch::randn({n}, torch::kFloat64)};
  };
  const auto pairs = [](std::int64_t n) { return std::pair{torch::randn({n, 2}), torch::randn({n, 2})}; };
  const auto chances = [](std::int64_t n) {
    return std::pair{torch::rand({n, 3}) + 0.1, torch::rand({n, 3}) + 0.1};
  };
  const auto words = [](std::int64_t n) {
    return std::pair{torch::randn({n, 3, 7}), torch::randint(7, {n, 3}, torch::kInt64)};
  };
  std::vector<Kind> all;
#define RTRAIN_KIND(Metric, batch, ...) \
  all.push_back(                        \
      { #Metric " " #batch " " #__VA_ARGS__, [] { return std::make_unique<Metric>(__VA_ARGS__); }, batch })
  const ClassificationOptions macro{.num_classes = 4, .average = Average::kMacro};
  const ClassificationOptions rows{
      .num_classes = 4, .average = Average::kMacro, .multidim_average = Multidim::kSamplewise};
  all.push_back({"Accuracy macro", [=] { return std::make_unique<Accuracy>(macro); }, classes});
  all.push_back({"Recall macro", [=] { return std::make_unique<Recall>(macro); }, classes});
  all.push_back({"F1 samplewise", [=] { return std::make_unique<F1>(rows); }, pixels});
  all.push_back({"ExactMatch samplewise", [=] { return std::make_unique<ExactMatch>(rows); }, pixels});
  RTRAIN_KIND(Accuracy, classes, ClassificationOptions{.num_classes = 4});
  RTRAIN_KIND(Precision, decisions, ClassificationOptions{.task = Task::kBinary});
  RTRAIN_KIND(Specificity, labels, ClassificationOptions{.task = Task::kMultilabel, .num_labels = 3});
  RTRAIN_KIND(FBeta, classes, 2.0, ClassificationOptions{.num_classes = 4});
  RTRAIN_KIND(HammingDistance, labels, ClassificationOptions{.task = Task::kMultilabel, .num_labels = 3});
  RTRAIN_KIND(StatScores, classes, ClassificationOptions{.num_classes = 4, .average = Average::kNone});
  RTRAIN_KIND(ExactMatch, labels, ClassificationOptions{.task = Task::kMultilabel, .num_labels = 3});
  RTRAIN_KIND(ConfusionMatrix, classes, ConfusionMatrixOptions{.num_classes = 4});
  RTRAIN_KIND(CohenKappa, classes, CohenKappaOptions{.num_classes = 4});
  RTRAIN_KIND(MatthewsCorrCoef, decisions, ConfusionMatrixOptions{.task = Task::kBinary});
  RTRAIN_KIND(Jaccard, labels, JaccardOptions{.task = Task::kMultilabel, .num_labels = 3});
  RTRAIN_KIND(CalibrationError, classes, CalibrationErrorOptions{.num_classes = 4});
  RTRAIN_KIND(HingeLoss, classes,
              HingeLossOptions{.num_classes = 4, .multiclass_mode = HingeMode::kOneVsAll});
  RTRAIN_KIND(AUROC, classes, CurveOptions{.num_classes = 4});
  RTRAIN_KIND(AUROC, decisions, CurveOptions{.task = Task::kBinary, .thresholds = 20});
  RTRAIN_KIND(AveragePrecision, labels, CurveOptions{.task = Task::kMultilabel, .num_labels = 3});
  RTRAIN_KIND(ROC, decisions, CurveOptions{.task = Task::kBinary});
  RTRAIN_KIND(PrecisionRecallCurve, classes, CurveOptions{.num_classes = 4, .thresholds = {0.1, 0.5, 0.9}});
  RTRAIN_KIND(MeanSquaredError, numbers, MeanSquaredErrorOptions{.squared = false});
  RTRAIN_KIND(MeanAbsoluteError, pairs, OutputsOptions{.num_outputs = 2});
  RTRAIN_KIND(MeanAbsolutePercentageError, numbers);
  RTRAIN_KIND(SymmetricMeanAbsolutePercentageError, numbers);
  RTRAIN_KIND(MeanSquaredLogError, chances);
  RTRAIN_KIND(LogCoshError, numbers);
  RTRAIN_KIND(MinkowskiDistance, numbers, 3);
  RTRAIN_KIND(R2Score, pairs, R2ScoreOptions{.multioutput = Multioutput::kRawValues, .num_outputs = 2});
  RTRAIN_KIND(RelativeSquaredError, numbers);
  RTRAIN_KIND(ExplainedVariance, numbers);
  RTRAIN_KIND(PearsonCorrCoef, pairs, OutputsOptions{.num_outputs = 2});
  RTRAIN_KIND(ConcordanceCorrCoef, numbers);
  RTRAIN_KIND(SpearmanCorrCoef, pairs, OutputsOptions{.num_outputs = 2});
  RTRAIN_KIND(KendallRankCorrCoef, numbers);
  RTRAIN_KIND(CosineSimilarity, pairs);
  RTRAIN_KIND(KLDivergence, chances, KLDivergenceOptions{.reduction = Reduction::kNone});
  RTRAIN_KIND(Perplexity, words);
#undef RTRAIN_KIND
  all.push_back({"MetricCollection",
                 [=] {
                   auto none = macro;
                   none.average = Average::kNone;
                   return std::make_unique<MetricCollection>(std::vector<CollectionMember>{
                       {"acc", Accuracy(macro)},
                       {"f1", F1(macro)},
                       {"roc", AUROC({.num_classes = 4})},
                       {"each", Classwise(Recall(none), {"a", "b", "c", "d"})}});
                 },
                 classes});
  return all;
}

inline bool same(const MetricOutput& a, const MetricOutput& b, double tolerance = 1e-9) {
  const auto all_a = a.all(), all_b = b.all();
  if (all_a.size() != all_b.size()) return false;
  for (std::size_t i = 0; i < all_a.size(); ++i) {
    const auto &x = all_a[i], &y = all_b[i];
    if (x.first != y.first || x.second.sizes() != y.second.sizes() ||
        x.second.scalar_type() != y.second.scalar_type() ||
        !torch::allclose(x.second.to(torch::kFloat64), y.second.to(torch::kFloat64), tolerance, tolerance,
                         /*equal_nan=*/true))
      return false;
  }
  return true;
}

inline bool same(const MetricStates& a, const MetricStates& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a)
    if (!b.contains(name) || !torch::equal(tensor, b.at(name))) return false;
  return true;
}

}  // namespace rtrain::test
