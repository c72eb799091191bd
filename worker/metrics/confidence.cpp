// Metrics of how sure a prediction is.
#include "worker/metrics/class_inputs.h"

#include <torch/torch.h>

#include <limits>
#include <utility>

namespace rtrain::metrics {
namespace {

ClassificationOptions one_decision(const std::string& name, Task task, std::int64_t num_classes,
                                   const std::optional<std::int64_t>& ignore_index, Problems problems = {}) {
  problems.expect(
      task != Task::kMultilabel,
      "the task is multilabel, which it is not defined for: take one metric a label, with task binary");
  const ClassificationOptions own{.task = task,
                                  .num_classes = num_classes,
                                  .num_labels = task == Task::kMultilabel ? 2 : 0,
                                  .ignore_index = ignore_index};
  return checked(name, own, std::move(problems));
}

ClassificationOptions options_of(const CalibrationErrorOptions& o) {
  Problems problems;
  problems.expect(o.n_bins >= 1, "n_bins is " + std::to_string(o.n_bins) + ", expected 1 or more");
  return one_decision("CalibrationError", o.task, o.num_classes, o.ignore_index, std::move(problems));
}

/// Scores and targets without what is ignored: [M] or [M, C], and [M].
std::pair<torch::Tensor, torch::Tensor> flat_scores(const ClassificationOptions& o,
                                                    const torch::Tensor& preds, const torch::Tensor& target) {
  auto scores =
      o.task == Task::kBinary ? preds.reshape({-1}) : preds.movedim(1, -1).reshape({-1, o.num_classes});
  auto classes = target.reshape({-1});
  if (const auto mask = counted(classes, o.ignore_index); mask.defined()) {
    scores = scores.index({mask});
    classes = classes.index({mask});
  }
  return {scores, classes};
}

torch::Tensor zeros(std::int64_t count) { return torch::zeros({count}, torch::kFloat64); }

}  // namespace

CalibrationError::CalibrationError(CalibrationErrorOptions options)
    : PredictionMetric("CalibrationError"),
      options_(options_of(options)),
      n_bins_(options.n_bins),
      norm_(options.norm),
      count_(add_state("count", zeros(n_bins_ + 1), Reduce::kSum)),
      confidence_(add_state("confidence", zeros(n_bins_ + 1), Reduce::kSum)),
      accuracy_(add_state("accuracy", zeros(n_bins_ + 1), Reduce::kSum)) {}

void CalibrationError::add(const torch::Tensor& preds, const torch::Tensor& target) {
  check_inputs(name(), options_, Wants::kScores, preds, target);
  const auto [scores, classes] = flat_scores(options_, preds, target);
  if (classes.numel() == 0) return;
  torch::Tensor confidence, right;
  if (options_.task == Task::kBinary) {
    confidence = sigmoid_if_needed(scores, {});
    right = classes.eq(1);
  } else {
    const auto [highest, which] = softmax_if_needed(scores).max(1);
    confidence = highest;
    right = which.eq(classes);
  }
  // The bounds of the bins in the type of the confidences: 0.2 of float32 is not below 0.2 of float64.
  if (confidence.scalar_type() != torch::kFloat64 || options_.task == Task::kMulticlass)
    confidence = confidence.to(torch::kFloat32);
  const auto bounds = torch::linspace(0, 1, n_bins_ + 1, confidence.options());
  const auto bin =
      (torch::bucketize(confidence, bounds, /*out_int32=*/false, /*right=*/true) - 1).clamp(0, n_bins_);
  const auto into_bins = [&](const torch::Tensor& sum, const torch::Tensor& values) {
    return sum + torch::zeros_like(sum).scatter_add_(0, bin, values.to(torch::kFloat64));
  };
  count_ = into_bins(count_, torch::ones_like(bin));
  confidence_ = into_bins(confidence_, confidence);
  accuracy_ = into_bins(accuracy_, right);
}

MetricOutput CalibrationError::value() const {
  const auto share = count_ / count_.sum();
  const auto gap = (divided(accuracy_, count_) - divided(confidence_, count_)).abs();
  switch (norm_) {
    case CalibrationNorm::kL1: return (gap * share).sum();
    case CalibrationNorm::kL2: return (gap.square() * share).sum().sqrt();
    case CalibrationNorm::kMax: return gap.max();
  }
  return {torch::Tensor()};
}

HingeLoss::HingeLoss(HingeLossOptions options)
    : PredictionMetric("HingeLoss"),
      options_(one_decision("HingeLoss", options.task, options.num_classes, options.ignore_index)),
      squared_(options.squared),
      one_vs_all_(options_.task == Task::kMulticlass && options.multiclass_mode == HingeMode::kOneVsAll),
      sum_(add_state("sum", one_vs_all_ ? zeros(options_.num_classes) : torch::zeros({}, torch::kFloat64),
                     Reduce::kSum)),
      total_(add_state("total", torch::zeros({}, torch::kFloat64), Reduce::kSum)) {}

void HingeLoss::add(const torch::Tensor& preds, const torch::Tensor& target) {
  check_inputs(name(), options_, Wants::kScores, preds, target);
  const auto [flat, classes] = flat_scores(options_, preds, target);
  if (classes.numel() == 0) return;
  torch::Tensor margin;
  if (options_.task == Task::kBinary) {
    const auto scores = sigmoid_if_needed(flat, {});
    margin = torch::where(classes.eq(1), scores, -scores);
  } else {
    const auto scores = softmax_if_needed(flat);
    const auto right = classes.unsqueeze(1).eq(torch::arange(options_.num_classes, classes.device()));
    if (one_vs_all_) {
      margin = torch::where(right, scores, -scores);
    } else {
      const auto others = scores.masked_fill(right, -std::numeric_limits<double>::infinity());
      margin = (scores * right).sum(1) - std::get<0>(others.max(1));
    }
  }
  auto loss = (1 - margin.to(torch::kFloat64)).clamp_min(0);
  if (squared_) loss = loss.square();
  sum_ = sum_ + loss.sum(0);
  total_ = total_ + static_cast<double>(classes.numel());
}

MetricOutput HingeLoss::value() const { return sum_ / total_; }

}  // namespace rtrain::metrics
