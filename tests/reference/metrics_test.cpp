// The metrics against torchmetrics on random inputs (metrics.py).
#include "tests/support/catch.h"
#include "tests/support/reference.h"
#include "tests/support/temp_dir.h"

#include <rtrain/metrics.h>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <utility>

namespace reference_metrics_test {

using namespace rtrain;
using namespace rtrain::metrics;
using nlohmann::json;

namespace {

torch::Tensor tensor_of(const json& row) {
  const auto type = row["type"] == "int"       ? torch::kInt64
                    : row["type"] == "float64" ? torch::kFloat64
                                               : torch::kFloat32;
  return torch::tensor(row["values"].get<std::vector<double>>(), torch::kFloat64)
      .reshape(row["shape"].get<std::vector<std::int64_t>>())
      .to(type);
}

template <class E>
E chosen(const json& options, const char* name, E otherwise, const std::map<std::string, E>& names) {
  return options.contains(name) ? names.at(options[name].get<std::string>()) : otherwise;
}

Task task_of(const json& o) {
  return chosen(
      o, "task", Task::kBinary,
      {{"binary", Task::kBinary}, {"multiclass", Task::kMulticlass}, {"multilabel", Task::kMultilabel}});
}

Average average_of(const json& o, Average otherwise) {
  return chosen(o, "average", otherwise,
                {{"micro", Average::kMicro},
                 {"macro", Average::kMacro},
                 {"weighted", Average::kWeighted},
                 {"none", Average::kNone}});
}

/// Fields that many options have.
template <class Options>
Options common(const json& o) {
  Options options;
  options.task = task_of(o);
  options.num_classes = o.value("num_classes", 0);
  if (o.contains("ignore_index")) options.ignore_index = o["ignore_index"].get<std::int64_t>();
  if constexpr (requires { options.num_labels; }) options.num_labels = o.value("num_labels", 0);
  if constexpr (requires { options.threshold; }) options.threshold = o.value("threshold", 0.5);
  if constexpr (requires { options.zero_division; }) options.zero_division = o.value("zero_division", 0.0);
  if constexpr (requires { options.average; }) options.average = average_of(o, options.average);
  return options;
}

ClassificationOptions decisions(const json& o) {
  auto options = common<ClassificationOptions>(o);
  options.top_k = o.value("top_k", 1);
  if (o.contains("multidim_average")) options.multidim_average = Multidim::kSamplewise;
  return options;
}

ConfusionMatrixOptions confusion(const json& o) {
  auto options = common<ConfusionMatrixOptions>(o);
  options.normalize =
      chosen(o, "normalize", Normalize::kNone,
             {{"true", Normalize::kTrue}, {"pred", Normalize::kPred}, {"all", Normalize::kAll}});
  return options;
}

CurveOptions curve(const json& o) {
  auto options = common<CurveOptions>(o);
  if (o.contains("thresholds")) {
    const auto& given = o["thresholds"];
    options.thresholds =
        given.is_array() ? Thresholds(given.get<std::vector<double>>()) : Thresholds(given.get<int>());
  }
  if (o.contains("max_fpr")) options.max_fpr = o["max_fpr"].get<double>();
  return options;
}

OutputsOptions outputs(const json& o) { return {.num_outputs = o.value("num_outputs", 1)}; }

Multioutput multioutput(const json& o) {
  return chosen(o, "multioutput", Multioutput::kUniformAverage,
                {{"uniform_average", Multioutput::kUniformAverage},
                 {"raw_values", Multioutput::kRawValues},
                 {"variance_weighted", Multioutput::kVarianceWeighted}});
}

Reduction reduction(const json& o, Reduction otherwise) {
  return chosen(o, "reduction", otherwise,
                {{"sum", Reduction::kSum}, {"mean", Reduction::kMean}, {"none", Reduction::kNone}});
}

template <class M>
std::unique_ptr<PredictionMetric> made(M metric) {
  return std::make_unique<M>(std::move(metric));
}

std::unique_ptr<PredictionMetric> make(const std::string& name, const json& o) {
  if (name == "Accuracy") return made(Accuracy(decisions(o)));
  if (name == "Precision") return made(Precision(decisions(o)));
  if (name == "Recall") return made(Recall(decisions(o)));
  if (name == "F1Score") return made(F1(decisions(o)));
  if (name == "FBetaScore") return made(FBeta(o["beta"].get<double>(), decisions(o)));
  if (name == "Specificity") return made(Specificity(decisions(o)));
  if (name == "HammingDistance") return made(HammingDistance(decisions(o)));
  if (name == "StatScores") return made(StatScores(decisions(o)));
  if (name == "ExactMatch") return made(ExactMatch(decisions(o)));
  if (name == "ConfusionMatrix") return made(ConfusionMatrix(confusion(o)));
  if (name == "MatthewsCorrCoef") return made(MatthewsCorrCoef(confusion(o)));
  if (name == "JaccardIndex") return made(Jaccard(common<JaccardOptions>(o)));
  if (name == "CohenKappa") {
    auto options = common<CohenKappaOptions>(o);
    options.weights = chosen(o, "weights", KappaWeights::kNone,
                             {{"linear", KappaWeights::kLinear}, {"quadratic", KappaWeights::kQuadratic}});
    return made(CohenKappa(options));
  }
  if (name == "CalibrationError") {
    auto options = common<CalibrationErrorOptions>(o);
    options.n_bins = o["n_bins"].get<std::int64_t>();
    options.norm =
        chosen(o, "norm", CalibrationNorm::kL1,
               {{"l1", CalibrationNorm::kL1}, {"l2", CalibrationNorm::kL2}, {"max", CalibrationNorm::kMax}});
    return made(CalibrationError(options));
  }
  if (name == "HingeLoss") {
    auto options = common<HingeLossOptions>(o);
    options.squared = o["squared"].get<bool>();
    options.multiclass_mode =
        o["multiclass_mode"] == "one-vs-all" ? HingeMode::kOneVsAll : HingeMode::kCrammerSinger;
    return made(HingeLoss(options));
  }
  if (name == "AUROC") return made(AUROC(curve(o)));
  if (name == "AveragePrecision") return made(AveragePrecision(curve(o)));
  if (name == "ROC") return made(ROC(curve(o)));
  if (name == "PrecisionRecallCurve") return made(PrecisionRecallCurve(curve(o)));
  if (name == "MeanSquaredError")
    return made(
        MeanSquaredError({.squared = o.value("squared", true), .num_outputs = outputs(o).num_outputs}));
  if (name == "MeanAbsoluteError") return made(MeanAbsoluteError(outputs(o)));
  if (name == "MeanAbsolutePercentageError") return made(MeanAbsolutePercentageError());
  if (name == "SymmetricMeanAbsolutePercentageError") return made(SymmetricMeanAbsolutePercentageError());
  if (name == "MeanSquaredLogError") return made(MeanSquaredLogError());
  if (name == "LogCoshError") return made(LogCoshError(outputs(o)));
  if (name == "MinkowskiDistance") return made(MinkowskiDistance(o["p"].get<double>()));
  if (name == "R2Score")
    return made(R2Score({.multioutput = multioutput(o),
                         .adjusted = o.value("adjusted", 0),
                         .num_outputs = outputs(o).num_outputs}));
  if (name == "RelativeSquaredError")
    return made(
        RelativeSquaredError({.squared = o.value("squared", true), .num_outputs = outputs(o).num_outputs}));
  if (name == "ExplainedVariance")
    return made(ExplainedVariance({.multioutput = multioutput(o), .num_outputs = outputs(o).num_outputs}));
  if (name == "PearsonCorrCoef") return made(PearsonCorrCoef(outputs(o)));
  if (name == "ConcordanceCorrCoef") return made(ConcordanceCorrCoef(outputs(o)));
  if (name == "SpearmanCorrCoef") return made(SpearmanCorrCoef(outputs(o)));
  if (name == "KendallRankCorrCoef") return made(KendallRankCorrCoef(outputs(o)));
  if (name == "CosineSimilarity") return made(CosineSimilarity({.reduction = reduction(o, Reduction::kSum)}));
  if (name == "KLDivergence")
    return made(
        KLDivergence({.log_prob = o.value("log_prob", false), .reduction = reduction(o, Reduction::kMean)}));
  if (name == "Perplexity") {
    PerplexityOptions options;
    if (o.contains("ignore_index")) options.ignore_index = o["ignore_index"].get<std::int64_t>();
    return made(Perplexity(options));
  }
  return nullptr;
}

std::unique_ptr<ValueMetric> make_of_values(const std::string& name) {
  if (name == "MeanMetric") return std::make_unique<MeanMetric>();
  if (name == "SumMetric") return std::make_unique<SumMetric>();
  if (name == "MinMetric") return std::make_unique<MinMetric>();
  if (name == "MaxMetric") return std::make_unique<MaxMetric>();
  if (name == "RunningMean") return std::make_unique<RunningMean>();
  return nullptr;
}

MetricOutput value_of(const json& row) {
  const auto name = row["metric"].get<std::string>();
  if (const auto metric = make(name, row["options"])) {
    for (const auto& batch : row["batches"]) metric->update(tensor_of(batch[0]), tensor_of(batch[1]));
    return metric->compute();
  }
  const auto metric = make_of_values(name);
  REQUIRE(metric != nullptr);
  for (const auto& batch : row["batches"])
    metric->update(tensor_of(batch[0]), batch.size() > 1 ? tensor_of(batch[1]) : torch::Tensor());
  return metric->compute();
}

/// In torchmetrics' order: precision before recall, and of classes all x before all y.
std::vector<double> numbers_of(const std::string& name, const MetricOutput& output) {
  std::vector<std::string> order;
  if (name == "ROC" || name == "PrecisionRecallCurve") {
    const auto parts = name == "ROC" ? std::vector<std::string>{"fpr", "tpr", "thresholds"}
                                     : std::vector<std::string>{"precision", "recall", "thresholds"};
    for (const auto& part : parts)
      for (const auto& [own, tensor] : output.all())
        if (own.starts_with(part)) order.push_back(own);
  } else {
    for (const auto& [own, tensor] : output.all()) order.push_back(own);
  }
  std::vector<double> all;
  for (const auto& own : order) {
    const auto flat = output.at(own).to(torch::kFloat64).reshape({-1}).contiguous();
    all.insert(all.end(), flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel());
  }
  return all;
}

bool near(double mine, const json& theirs) {
  if (theirs.is_null()) return std::isnan(mine);
  const auto value = theirs.get<double>();
  return std::abs(mine - value) <= 2e-6 + 2e-5 * std::abs(value);  // torchmetrics counts in float32
}

}  // namespace

TEST_CASE("reference: metrics are torchmetrics'", "[reference]") {
  const test::TempDir dir;
  if (!test::make_reference("metrics.py", dir.path())) return;
  std::ifstream in(dir / "metrics.json");
  const auto rows = json::parse(in);
  REQUIRE(rows.size() > 2500);
  std::map<std::string, int> wrong;
  for (const auto& row : rows) {
    const auto name = row["metric"].get<std::string>();
    const auto about = name + " " + row["options"].dump();
    std::vector<double> mine;
    try {
      mine = numbers_of(name, value_of(row));
    } catch (const std::exception& error) {
      FAIL_CHECK(about << ": " << error.what());
      continue;
    }
    const auto& theirs = row["value"];
    bool same = mine.size() == theirs.size();
    for (std::size_t i = 0; same && i < mine.size(); ++i) same = near(mine[i], theirs[i]);
    if (same || ++wrong[name] > 5) continue;  // a few of each say enough
    FAIL_CHECK(about << "\nmine:   " << json(mine).dump() << "\ntheirs: " << theirs.dump());
  }
  for (const auto& [name, count] : wrong) FAIL_CHECK(name << ": " << count << " differ");
}

}  // namespace reference_metrics_test
