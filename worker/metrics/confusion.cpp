#include "worker/metrics/class_inputs.h"
#include "worker/metrics/counting.h"

#include <torch/torch.h>

#include <cmath>
#include <limits>

namespace rtrain::metrics {
namespace {

torch::Tensor initial(const ClassificationOptions& o) {
  switch (o.task) {
    case Task::kBinary: return torch::zeros({2, 2}, torch::kInt64);
    case Task::kMulticlass: return torch::zeros({o.num_classes, o.num_classes}, torch::kInt64);
    case Task::kMultilabel: return torch::zeros({o.num_labels, 2, 2}, torch::kInt64);
  }
  return {};
}

ClassificationOptions options_of(const ConfusionMatrixOptions& o) {
  return {.task = o.task,
          .num_classes = o.num_classes,
          .num_labels = o.num_labels,
          .threshold = o.threshold,
          .ignore_index = o.ignore_index};
}

ClassificationOptions options_of(const CohenKappaOptions& o) {
  Problems problems;
  problems.expect(
      o.task != Task::kMultilabel,
      "the task is multilabel, for which there is no kappa: take one metric a label, with task binary");
  const ClassificationOptions own{.task = o.task,
                                  .num_classes = o.num_classes,
                                  .num_labels = o.task == Task::kMultilabel ? 2 : 0,
                                  .threshold = o.threshold,
                                  .ignore_index = o.ignore_index};
  return checked("CohenKappa", own, std::move(problems));
}

ClassificationOptions options_of(const JaccardOptions& o) {
  return {.task = o.task,
          .num_classes = o.num_classes,
          .num_labels = o.num_labels,
          .average = o.average,
          .threshold = o.threshold,
          .ignore_index = o.ignore_index,
          .zero_division = o.zero_division};
}

}  // namespace

ConfusionMatrixMetric::ConfusionMatrixMetric(std::string name, ClassificationOptions options)
    : PredictionMetric(std::move(name)),
      options_(checked(this->name(), options)),
      counts_(add_state("counts", initial(options_), Reduce::kSum)) {}

std::string ConfusionMatrixMetric::update_key() const { return "confusion " + text_of(options_); }

void ConfusionMatrixMetric::add(const torch::Tensor& preds, const torch::Tensor& target) {
  const auto& o = options_;
  check_inputs(name(), o, Wants::kDecisions, preds, target);
  const bool of_classes = o.task == Task::kMulticlass, of_labels = o.task == Task::kMultilabel;
  const auto classes = of_classes ? o.num_classes : 2;
  auto mask = counted(target, o.ignore_index);
  torch::Tensor given;
  if (of_classes) {
    given = preds.dim() == target.dim() + 1 ? preds.argmax(1) : preds;
  } else {
    given = decisions(preds, o.threshold, of_labels ? torch::Tensor() : mask).to(torch::kInt64);
  }
  auto valid =
      given.ge(0).logical_and(given.lt(classes)).logical_and(target.ge(0)).logical_and(target.lt(classes));
  if (mask.defined()) valid = valid.logical_and(mask);
  auto cell = (target.to(torch::kInt64) * classes + given.to(torch::kInt64));
  if (of_labels) {  // [N, L, ...] -> a row a label
    cell = cell.transpose(0, 1).reshape({o.num_labels, -1});
    valid = valid.transpose(0, 1).reshape({o.num_labels, -1});
  } else {
    cell = cell.reshape({1, -1});
    valid = valid.reshape({1, -1});
  }
  counts_ = counts_ + class_counts(cell, valid, classes * classes).reshape(counts_.sizes());
}

ConfusionMatrix::ConfusionMatrix(ConfusionMatrixOptions options)
    : ConfusionMatrixMetric("ConfusionMatrix", options_of(options)), normalize_(options.normalize) {}

MetricOutput ConfusionMatrix::value() const {
  switch (normalize_) {
    case Normalize::kNone: return counts_;
    case Normalize::kTrue: return divided(counts_, counts_.sum(-1, /*keepdim=*/true));
    case Normalize::kPred: return divided(counts_, counts_.sum(-2, /*keepdim=*/true));
    case Normalize::kAll: return divided(counts_, counts_.sum({-2, -1}, /*keepdim=*/true));
  }
  return counts_;
}

CohenKappa::CohenKappa(CohenKappaOptions options)
    : ConfusionMatrixMetric("CohenKappa", options_of(options)), weights_(options.weights) {}

MetricOutput CohenKappa::value() const {
  const auto counts = counts_.to(torch::kFloat64);
  const auto seen = counts.sum(1, /*keepdim=*/true), given = counts.sum(0, /*keepdim=*/true);
  const auto expected = seen.matmul(given) / counts.sum();
  const auto number = torch::arange(counts.size(0), counts.options());
  const auto distance = (number.unsqueeze(1) - number.unsqueeze(0)).abs();
  const auto weight = weights_ == KappaWeights::kNone     ? distance.gt(0).to(torch::kFloat64)
                      : weights_ == KappaWeights::kLinear ? distance
                                                          : distance.square();
  return 1 - (weight * counts).sum() / (weight * expected).sum();
}

MatthewsCorrCoef::MatthewsCorrCoef(ConfusionMatrixOptions options)
    : ConfusionMatrixMetric("MatthewsCorrCoef", options_of(options)) {}

namespace {

/// Two classes, where the general form is 0/0: the limits that torchmetrics takes.
double matthews_of_two(double tn, double fp, double fn, double tp, double general) {
  if (tp + tn != 0 && fp + fn == 0) return 1;
  if (tp + tn == 0 && fp + fn != 0) return -1;
  if (std::isfinite(general)) return general;
  const double eps = std::numeric_limits<float>::epsilon();
  double numerator = 0;
  if (fn == 0 && tn == 0) {
    numerator = std::sqrt(eps) * (tp - fp);
  } else if (fp == 0 && tn == 0) {
    numerator = std::sqrt(eps) * (tp - fn);
  } else if (tp == 0 && fn == 0) {
    numerator = std::sqrt(eps) * (tn - fp);
  } else if (tp == 0 && fp == 0) {
    numerator = std::sqrt(eps) * (tn - fn);
  } else {
    return 0;
  }
  return numerator / std::sqrt((tp + fp + eps) * (tp + fn + eps) * (tn + fp + eps) * (tn + fn + eps));
}

}  // namespace

MetricOutput MatthewsCorrCoef::value() const {
  const auto counts = (counts_.dim() == 3 ? counts_.sum(0) : counts_).to(torch::kFloat64);
  const auto seen = counts.sum(1), given = counts.sum(0);
  const auto all = counts.sum(), right = counts.trace();
  const auto covariance = right * all - (seen * given).sum();
  const auto variances = (all.square() - given.square().sum()) * (all.square() - seen.square().sum());
  const auto general = covariance / variances.sqrt();
  if (counts.numel() != 4) return torch::where(variances.eq(0), torch::zeros_like(general), general);
  const auto host = counts.cpu().contiguous();
  const auto* c = host.const_data_ptr<double>();
  const auto value = matthews_of_two(
      c[0], c[1], c[2], c[3],
      variances.item<double>() == 0 ? std::numeric_limits<double>::quiet_NaN() : general.item<double>());
  return torch::scalar_tensor(value, counts.options());
}

Jaccard::Jaccard(JaccardOptions options) : ConfusionMatrixMetric("Jaccard", options_of(options)) {}

MetricOutput Jaccard::value() const {
  const auto& o = options_;
  const auto counts = counts_.to(torch::kFloat64);
  if (o.task == Task::kBinary) {
    const auto right = counts[1][1];
    return divided(right, right + counts[0][1] + counts[1][0], o.zero_division);
  }
  const bool labels = o.task == Task::kMultilabel;
  auto both = labels ? counts.select(1, 1).select(1, 1) : counts.diagonal();
  const auto seen = labels ? both + counts.select(1, 1).select(1, 0) : counts.sum(1);
  const auto given = labels ? both + counts.select(1, 0).select(1, 1) : counts.sum(0);
  auto either = seen + given - both;
  const bool leaves_out =
      !labels && o.ignore_index && *o.ignore_index >= 0 && *o.ignore_index < o.num_classes;
  if (o.average == Average::kMicro) {
    both = both.sum();
    either = leaves_out ? either.sum() - either[*o.ignore_index] : either.sum();
  }
  const auto score = divided(both, either, o.zero_division);
  if (o.average == Average::kMicro || o.average == Average::kNone) return score;
  auto weights = o.average == Average::kWeighted ? seen : torch::ones_like(score);
  if (o.average == Average::kMacro && !labels) {
    auto absent = (seen + given).eq(0);
    if (leaves_out)
      absent = absent.logical_or(torch::arange(o.num_classes, absent.device()).eq(*o.ignore_index));
    weights = weights.masked_fill(absent, 0);
  }
  return (weights * score / weights.sum()).sum();
}

}  // namespace rtrain::metrics
