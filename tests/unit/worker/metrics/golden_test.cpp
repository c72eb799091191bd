// Each value of tests/golden/metrics/torchmetrics.txt, on the inputs that its script made.
#include "tests/support/catch.h"

#include <rtrain/metrics.h>

#include <torch/torch.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace metrics_golden_test {

using namespace rtrain;
using namespace rtrain::metrics;

namespace {

using Batches = std::vector<std::pair<torch::Tensor, torch::Tensor>>;
using Case = std::function<MetricOutput()>;

/// Element i is ((i + salt) * 7919 mod 1000) / 1000 - 0.5.
torch::Tensor det(const std::vector<std::int64_t>& shape, std::int64_t salt) {
  std::int64_t count = 1;
  for (const auto size : shape) count *= size;
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i)
    values.push_back(static_cast<double>((i + salt) * 7919 % 1000) / 1000 - 0.5);
  return torch::tensor(values, torch::kFloat64).reshape(shape);
}

torch::Tensor ints(const std::vector<std::int64_t>& values) { return torch::tensor(values, torch::kInt64); }
torch::Tensor floats(const std::vector<double>& values) { return torch::tensor(values, torch::kFloat32); }

Batches halves(const torch::Tensor& a, const torch::Tensor& b, std::int64_t at) {
  return {{a.narrow(0, 0, at), b.narrow(0, 0, at)},
          {a.narrow(0, at, a.size(0) - at), b.narrow(0, at, b.size(0) - at)}};
}

template <class M>
Case fed(M metric, Batches batches) {
  auto shared = std::make_shared<M>(std::move(metric));
  return [shared, batches = std::move(batches)]() -> MetricOutput {
    for (const auto& [a, b] : batches) shared->update(a, b);
    return shared->compute();
  };
}

const std::map<std::string, Average> kAverages{{"micro", Average::kMicro},
                                               {"macro", Average::kMacro},
                                               {"weighted", Average::kWeighted},
                                               {"none", Average::kNone}};

ClassificationOptions four(Average average = Average::kMicro) {
  return {.task = Task::kMulticlass, .num_classes = 4, .average = average};
}

std::map<std::string, Case> classification() {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < 12; ++i) labels.push_back((i * 7 + i / 3) % 4);
  const auto two = halves(det({12, 4}, 4) * 6, ints(labels), 7);
  const auto binary = halves((det({12}, 8) * 5).sigmoid(), ints({1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1}), 5);
  const Batches three{{(det({6, 3}, 6) * 4).sigmoid(),
                       ints({1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0}).reshape({6, 3})}};
  const Batches unseen{{ints({0, 0, 1}), ints({0, 0, 0})}};
  const std::string no_classes = "classes 2 and 3 never seen nor predicted: ";
  std::map<std::string, Case> all;
  for (const auto& [name, average] : kAverages) {
    const auto o = four(average);
    all["Accuracy " + name] = fed(Accuracy(o), two);
    all["Precision " + name] = fed(metrics::Precision(o), two);
    all["Recall " + name] = fed(Recall(o), two);
    all["F1Score " + name] = fed(F1(o), two);
    all["Specificity " + name] = fed(Specificity(o), two);
    all[no_classes + "Accuracy " + name] = fed(Accuracy(o), unseen);
    all[no_classes + "Precision " + name] = fed(metrics::Precision(o), unseen);
    all[no_classes + "Recall " + name] = fed(Recall(o), unseen);
    all[no_classes + "F1Score " + name] = fed(F1(o), unseen);
    const ClassificationOptions m{.task = Task::kMultilabel, .num_labels = 3, .average = average};
    all["multilabel Accuracy " + name] = fed(Accuracy(m), three);
    all["multilabel Precision " + name] = fed(metrics::Precision(m), three);
    all["multilabel Recall " + name] = fed(Recall(m), three);
    all["multilabel F1Score " + name] = fed(F1(m), three);
  }
  for (int k = 1; k <= 3; ++k) {
    auto o = four();
    o.top_k = k;
    all["Accuracy micro top_k=" + std::to_string(k)] = fed(Accuracy(o), two);
  }
  auto o = four(Average::kMacro);
  o.top_k = 2;
  all["Accuracy macro top_k=2"] = fed(Accuracy(o), two);
  for (const char* name : {"micro", "macro"}) {
    o = four(kAverages.at(name));
    o.ignore_index = 0;
    all[std::string("Accuracy ignore_index=0 ") + name] = fed(Accuracy(o), two);
  }
  for (const int zero_division : {0, 1}) {
    o = four(Average::kNone);
    o.zero_division = zero_division;
    all["Precision none zero_division=" + std::to_string(zero_division)] = fed(metrics::Precision(o), unseen);
  }
  all["Accuracy default average of task multiclass"] = fed(Accuracy({.num_classes = 4}), two);
  all["FBeta 2 macro"] = fed(FBeta(2, four(Average::kMacro)), two);
  all["StatScores micro"] = fed(StatScores(four()), two);
  const std::map<std::string, Normalize> norms{
      {"true", Normalize::kTrue}, {"pred", Normalize::kPred}, {"all", Normalize::kAll}};
  all["ConfusionMatrix"] = fed(ConfusionMatrix({.num_classes = 4}), two);
  for (const auto& [name, norm] : norms)
    all["ConfusionMatrix normalize=" + name] =
        fed(ConfusionMatrix({.num_classes = 4, .normalize = norm}), two);
  all["CohenKappa"] = fed(CohenKappa({.num_classes = 4}), two);
  all["MatthewsCorrCoef"] = fed(MatthewsCorrCoef({.num_classes = 4}), two);
  all["JaccardIndex macro"] = fed(Jaccard({.num_classes = 4}), two);
  all["CalibrationError l1 15"] = fed(CalibrationError({.num_classes = 4}), two);
  all["HingeLoss"] = fed(HingeLoss({.num_classes = 4}), two);

  const ClassificationOptions b{.task = Task::kBinary};
  all["binary Accuracy"] = fed(Accuracy(b), binary);
  all["binary Precision"] = fed(metrics::Precision(b), binary);
  all["binary Recall"] = fed(Recall(b), binary);
  all["binary F1Score"] = fed(F1(b), binary);
  all["binary Specificity"] = fed(Specificity(b), binary);
  all["binary StatScores"] = fed(StatScores(b), binary);
  all["binary ConfusionMatrix"] = fed(ConfusionMatrix({.task = Task::kBinary}), binary);
  all["binary MatthewsCorrCoef"] = fed(MatthewsCorrCoef({.task = Task::kBinary}), binary);
  all["binary CohenKappa"] = fed(CohenKappa({.task = Task::kBinary}), binary);
  all["binary JaccardIndex"] = fed(Jaccard({.task = Task::kBinary}), binary);
  all["binary CalibrationError"] = fed(CalibrationError({.task = Task::kBinary}), binary);
  all["binary HingeLoss"] = fed(HingeLoss({.task = Task::kBinary}), binary);
  all["binary Accuracy threshold .3"] = fed(Accuracy({.task = Task::kBinary, .threshold = 0.3}), binary);

  all["AUROC macro exact"] = fed(AUROC({.num_classes = 4}), two);
  all["AUROC weighted"] = fed(AUROC({.num_classes = 4, .average = Average::kWeighted}), two);
  all["AUROC none"] = fed(AUROC({.num_classes = 4, .average = Average::kNone}), two);
  all["AUROC thresholds=11"] = fed(AUROC({.num_classes = 4, .thresholds = 11}), two);
  all["AveragePrecision macro"] = fed(AveragePrecision({.num_classes = 4}), two);
  all["AveragePrecision none"] = fed(AveragePrecision({.num_classes = 4, .average = Average::kNone}), two);
  all["binary AUROC"] = fed(AUROC({.task = Task::kBinary}), binary);
  all["binary AUROC thresholds=5"] = fed(AUROC({.task = Task::kBinary, .thresholds = 5}), binary);
  all["binary AUROC max_fpr .5"] = fed(AUROC({.task = Task::kBinary, .max_fpr = 0.5}), binary);
  all["binary AveragePrecision"] = fed(AveragePrecision({.task = Task::kBinary}), binary);
  all["binary ROC"] = fed(ROC({.task = Task::kBinary}), binary);
  all["binary PrecisionRecallCurve"] = fed(PrecisionRecallCurve({.task = Task::kBinary}), binary);
  all["multilabel AUROC macro"] = fed(AUROC({.task = Task::kMultilabel, .num_labels = 3}), three);
  all["multilabel ExactMatch"] = fed(ExactMatch({.task = Task::kMultilabel, .num_labels = 3}), three);
  all["HammingDistance multilabel"] =
      fed(HammingDistance({.task = Task::kMultilabel, .num_labels = 3}), three);

  all["binary AUROC one class only"] =
      fed(AUROC({.task = Task::kBinary}), {{floats({.2, .8}), ints({1, 1})}});
  all["target out of range"] = fed(Accuracy(four()), {{ints({0, 1}), ints({0, 7})}});
  all["ties in AUROC"] =
      fed(AUROC({.task = Task::kBinary}), {{floats({.5, .5, .5, .2}), ints({1, 0, 1, 0})}});
  all["binary Accuracy at the threshold .5"] = fed(Accuracy(b), {{floats({.5, .5}), ints({1, 0})}});
  all["binary given logits (outside [0,1] -> sigmoid)"] =
      fed(Accuracy(b), {{floats({-1, 2, .3}), ints({0, 1, 0})}});
  all["top_k tie: argmax of equal scores"] =
      fed(Accuracy(four()), {{torch::ones({4, 4}), ints({0, 1, 2, 3})}});
  all["compute before update: Accuracy"] = fed(Accuracy(four()), {});
  const auto logits = det({12, 4}, 4) * 6;
  all["MetricCollection prefix val_"] = fed(
      MetricCollection({{"acc", Accuracy(four())}, {"f1", F1(four(Average::kMacro))}}, {.prefix = "val_"}),
      {{logits, ints(labels)}});
  return all;
}

template <class M>
Case given(M metric, std::vector<double> values, std::vector<double> weights = {}) {
  auto shared = std::make_shared<M>(std::move(metric));
  return [=]() -> MetricOutput {
    for (std::size_t i = 0; i < values.size(); ++i)
      shared->update(values[i], weights.empty() ? 1 : weights[i]);
    return shared->compute();
  };
}

std::map<std::string, Case> numbers() {
  const auto one = halves(det({10}, 3) * 3, det({10}, 17) * 3, 4);
  const auto two = halves(det({10, 2}, 3), det({10, 2}, 33), 4);
  const Batches rows{{det({10, 2}, 3), det({10, 2}, 33)}};
  const auto nan = std::nan("");
  std::map<std::string, Case> all;
  all["MeanSquaredError "] = fed(MeanSquaredError(), one);
  all["MeanSquaredError {'squared': False}"] = fed(MeanSquaredError({.squared = false}), one);
  all["MeanAbsoluteError "] = fed(MeanAbsoluteError(), one);
  all["MeanAbsolutePercentageError "] = fed(MeanAbsolutePercentageError(), one);
  all["SymmetricMeanAbsolutePercentageError "] = fed(SymmetricMeanAbsolutePercentageError(), one);
  all["R2Score "] = fed(R2Score(), one);
  all["ExplainedVariance "] = fed(ExplainedVariance(), one);
  all["PearsonCorrCoef "] = fed(PearsonCorrCoef(), one);
  all["SpearmanCorrCoef "] = fed(SpearmanCorrCoef(), one);
  all["LogCoshError "] = fed(LogCoshError(), one);
  all["MinkowskiDistance {'p': 3}"] = fed(MinkowskiDistance(3), one);
  all["ConcordanceCorrCoef "] = fed(ConcordanceCorrCoef(), one);
  all["KendallRankCorrCoef "] = fed(KendallRankCorrCoef(), one);
  all["RelativeSquaredError "] = fed(RelativeSquaredError(), one);
  all["MeanSquaredLogError"] =
      fed(MeanSquaredLogError(), {{(det({10}, 3) * 3).abs(), (det({10}, 17) * 3).abs()}});
  all["MeanSquaredError num_outputs=2"] = fed(MeanSquaredError({.num_outputs = 2}), two);
  all["R2Score raw_values 2"] = fed(R2Score({.multioutput = Multioutput::kRawValues, .num_outputs = 2}), two);
  all["R2Score variance_weighted"] =
      fed(R2Score({.multioutput = Multioutput::kVarianceWeighted, .num_outputs = 2}), two);
  all["R2Score adjusted=2"] = fed(R2Score({.adjusted = 2}), one);
  all["CosineSimilarity mean"] = fed(CosineSimilarity({.reduction = Reduction::kMean}), rows);
  all["KLDivergence"] = fed(KLDivergence(), {{rows[0].first.softmax(1), rows[0].second.softmax(1)}});
  all["Perplexity ignore_index=-100"] =
      fed(Perplexity({.ignore_index = -100}),
          {{det({2, 5, 6}, 2) * 4, ints({0, 1, 2, 3, 4, 5, 0, -100, 2, 1}).reshape({2, 5})}});
  all["MeanMetric [1.0, 2.0, nan, 4.0]"] = given(MeanMetric(), {1, 2, nan, 4});
  all["SumMetric [1.0, 2.0, 4.0]"] = given(SumMetric(), {1, 2, 4});
  all["MaxMetric [1.0, 5.0, 2.0]"] = given(MaxMetric(), {1, 5, 2});
  all["MinMetric [3.0, 1.0, 2.0]"] = given(MinMetric(), {3, 1, 2});
  all["CatMetric [3.0, 1.0]"] = given(CatMetric(), {3, 1});
  all["MeanMetric weighted (1,w1),(4,w3)"] = given(MeanMetric(), {1, 4}, {1, 3});
  all["RunningMean window 3 of 1..5"] = given(RunningMean(3), {1, 2, 3, 4, 5});
  all["compute before update: MeanMetric"] = given(MeanMetric(), {});
  all["compute before update: MSE"] = fed(MeanSquaredError(), {});
  all["R2 of one sample"] = fed(R2Score(), {{floats({1}), floats({1})}});
  all["R2 constant target"] = fed(R2Score(), {{floats({1, 2}), floats({1, 1})}});
  all["MAPE target 0"] = fed(MeanAbsolutePercentageError(), {{floats({1}), floats({0})}});
  return all;
}

/// All numbers of a text, in their order.
std::vector<double> numbers_in(std::string text) {
  std::vector<double> found;
  for (auto& c : text)
    if (std::string("[](){},'").find(c) != std::string::npos) c = ' ';
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    char* end = nullptr;
    const double value = std::strtod(word.c_str(), &end);
    if (*end == '\0') found.push_back(value);
  }
  return found;
}

std::vector<double> values_of(const MetricOutput& output, const std::string& title) {
  std::vector<std::string> order;
  for (const auto& [name, tensor] : output.all()) order.push_back(name);
  // torchmetrics' order
  if (title == "binary PrecisionRecallCurve") order = {"precision", "recall", "thresholds"};
  if (title == "MetricCollection prefix val_")
    CHECK((order == std::vector<std::string>{"val_acc", "val_f1"}));
  std::vector<double> all;
  for (const auto& name : order) {
    const auto flat = output.at(name).to(torch::kFloat64).reshape({-1}).contiguous();
    all.insert(all.end(), flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel());
  }
  return all;
}

bool near(double mine, double theirs) {
  if (std::isnan(theirs)) return std::isnan(mine);
  return std::abs(mine - theirs) <= 2e-7 + 1e-6 * std::abs(theirs);  // some are of float32
}

}  // namespace

TEST_CASE("metrics: the golden values of torchmetrics", "[unit][worker][metrics]") {
  auto cases = classification();
  cases.merge(numbers());
  std::ifstream in(RTRAIN_SOURCE_DIR "/tests/golden/metrics/torchmetrics.txt");
  std::set<std::string> met;
  int line_number = 0;
  for (std::string line; std::getline(in, line);) {
    // The inputs are told in the first two lines; how torchmetrics keeps its states is its own affair.
    if (++line_number <= 2 || line.starts_with("-- ") || line.starts_with("state of ")) continue;
    std::string title, text;
    if (const auto error = line.find(": ValueError"); error != std::string::npos) {
      title = line.substr(0, error);
      text = "error";
    } else if (const auto named = line.find(": {");
               named != std::string::npos && line.find(" = ") == std::string::npos) {
      title = line.substr(0, named);
      text = line.substr(named);
    } else {
      const auto at = line.rfind(" = ");
      title = line.substr(0, at);
      text = line.substr(at + 3);
    }
    INFO(line);
    const auto found = cases.find(title);
    if (found == cases.end()) {
      FAIL_CHECK("no case for \"" << title << "\"");
      continue;
    }
    CHECK(met.insert(title).second);
    if (text == "error") {
      CHECK_THROWS_AS(found->second(), std::invalid_argument);
      continue;
    }
    const auto theirs = numbers_in(text);
    const auto mine = values_of(found->second(), title);
    REQUIRE(mine.size() == theirs.size());
    for (std::size_t i = 0; i < mine.size(); ++i) {
      INFO("value " << i << ": " << mine[i] << ", expected " << theirs[i]);
      CHECK(near(mine[i], theirs[i]));
    }
  }
  for (const auto& [title, unused] : cases) {
    INFO(title);
    CHECK(met.contains(title));
  }
  CHECK(met.size() > 140);
}

}  // namespace metrics_golden_test
