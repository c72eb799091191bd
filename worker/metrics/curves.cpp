// What curves are made of, and the curves.
#include <rtrain/metrics/curves.h>

#include "worker/metrics/class_inputs.h"
#include "worker/metrics/counting.h"
#include "worker/metrics/curve_points.h"
#include "worker/metrics/curve_set.h"
#include "worker/metrics/shown.h"

#include <torch/torch.h>

#include <algorithm>
#include <stdexcept>

namespace rtrain::metrics {
namespace {

ClassificationOptions decisions_of(const CurveOptions& o) {
  return {.task = o.task,
          .num_classes = o.num_classes,
          .num_labels = o.num_labels,
          .ignore_index = o.ignore_index};
}

CurveOptions checked(const std::string& name, const CurveOptions& o) {
  Problems problems;
  if (const auto number = o.thresholds.number())
    problems.expect(*number >= 2,
                    "thresholds is " + std::to_string(*number) + ", expected 2 or more, or a list");
  const auto& list = o.thresholds.list();
  problems.expect(std::is_sorted(list.begin(), list.end()), "thresholds are not in ascending order");
  problems.expect(std::all_of(list.begin(), list.end(), [](double t) { return t >= 0 && t <= 1; }),
                  "a threshold lies outside of 0 to 1");
  problems.expect(o.average != Average::kMicro || o.task != Task::kMulticlass,
                  "average is kMicro, which curves of classes do not have: take kMacro, kWeighted or kNone");
  if (o.max_fpr) {
    problems.expect(o.task == Task::kBinary, "max_fpr is given, but the task is not binary: leave it out");
    problems.expect(*o.max_fpr > 0 && *o.max_fpr <= 1,
                    "max_fpr is " + shown(*o.max_fpr) + ", expected a rate above 0, up to 1");
  }
  problems.expect(o.max_samples >= 1,
                  "max_samples is " + std::to_string(o.max_samples) + ", expected 1 or more");
  (void)checked(name, decisions_of(o), std::move(problems));
  return o;
}

torch::Tensor values_of(const Thresholds& thresholds) {
  if (thresholds.exact()) return {};
  if (const auto number = thresholds.number()) return torch::linspace(0, 1, *number, torch::kFloat32);
  return torch::tensor(thresholds.list(), torch::kFloat32);
}

/// Columns of predictions; 0: one without a dimension of its own.
std::int64_t columns(const CurveOptions& o) { return o.num_classes + o.num_labels; }

}  // namespace

CurveMetric::CurveMetric(std::string name, CurveOptions options)
    : PredictionMetric(std::move(name)),
      options_(checked(this->name(), options)),
      thresholds_(values_of(options_.thresholds)) {
  std::vector<std::int64_t> shape;
  if (columns(options_) > 0) shape.push_back(columns(options_));
  if (thresholds_.defined()) {
    shape.insert(shape.begin(), thresholds_.size(0));
    shape.insert(shape.end(), {2, 2});
    table_ = &add_state("table", torch::zeros(shape, torch::kInt64), Reduce::kSum);
    return;
  }
  shape.insert(shape.begin(), 0);
  preds_ = &add_state("preds", torch::zeros(shape, torch::kFloat32), Reduce::kCat);
  if (options_.task == Task::kMulticlass) shape.pop_back();
  target_ = &add_state("target", torch::zeros(shape, torch::kInt64), Reduce::kCat);
}

void CurveMetric::reset() {
  PredictionMetric::reset();
  kept_ = 0;
}

std::string CurveMetric::update_key() const {
  std::string text = "curve " + text_of(decisions_of(options_)) + " " + std::to_string(options_.max_samples);
  if (const auto number = options_.thresholds.number()) text += " " + std::to_string(*number);
  for (const auto threshold : options_.thresholds.list()) text += " " + shown(threshold);
  return text;
}

void CurveMetric::add(const torch::Tensor& preds, const torch::Tensor& target) {
  const auto& o = options_;
  check_inputs(name(), decisions_of(o), Wants::kScores, preds, target);
  auto scores = preds.scalar_type() == torch::kFloat64 ? preds : preds.to(torch::kFloat32);
  auto labels = target.to(torch::kInt64);
  if (o.task == Task::kMultilabel) {
    scores = sigmoid_if_needed(scores.movedim(1, -1).reshape({-1, o.num_labels}), {});
    labels = labels.movedim(1, -1).reshape({-1, o.num_labels});
  } else {
    scores =
        o.task == Task::kBinary ? scores.reshape({-1}) : scores.movedim(1, -1).reshape({-1, o.num_classes});
    labels = labels.reshape({-1});
    if (const auto mask = counted(labels, o.ignore_index); mask.defined()) {
      scores = scores.index({mask});
      labels = labels.index({mask});
    }
    scores = o.task == Task::kBinary ? sigmoid_if_needed(scores, {}) : softmax_if_needed(scores);
  }
  if (labels.size(0) == 0) return;
  if (table_ == nullptr) {
    const auto kept = std::max(kept_, preds_->size(0)) + labels.size(0);
    if (kept > o.max_samples)
      throw std::runtime_error(
          name() + ".update(): " + std::to_string(kept) +
          " samples, of which the exact curve keeps every prediction, are above max_samples (" +
          std::to_string(o.max_samples) +
          "): .thresholds = 200 keeps a table of counts instead, .max_samples = N raises the limit");
    kept_ = kept;
    append(*preds_, scores);
    append(*target_, labels);
    return;
  }
  // Each prediction is above so many thresholds; a histogram of that number, summed from above, is the table.
  const auto count = thresholds_.size(0);
  const auto bounds = thresholds_.to(scores.options());
  auto above = torch::bucketize(scores, bounds, /*out_int32=*/false, /*right=*/true);
  above = above.masked_fill(scores.isnan(), 0);
  torch::Tensor is_one, mask;
  switch (o.task) {
    case Task::kBinary: is_one = labels.eq(1); break;
    case Task::kMultilabel:
      is_one = labels.eq(1);
      mask = counted(labels, o.ignore_index);
      break;
    case Task::kMulticlass:
      is_one = labels.unsqueeze(1).eq(torch::arange(o.num_classes, labels.options()));
      break;
  }
  // [M, C] -> a row a class
  const auto rows = [&](const torch::Tensor& tensor) {
    return columns(o) > 0 ? tensor.transpose(0, 1).contiguous() : tensor.reshape({1, -1});
  };
  const auto bin = rows(is_one).to(torch::kInt64) * (count + 1) + rows(above);
  const auto histogram = class_counts(bin, mask.defined() ? rows(mask) : mask, 2 * (count + 1))
                             .reshape({-1, 2, count + 1});  // [C, true, above]
  // positive at threshold t: above more than t of them
  const auto positive = histogram.flip(-1).cumsum(-1).flip(-1).narrow(-1, 1, count);
  const auto negative = histogram.sum(-1, /*keepdim=*/true) - positive;
  const auto table = torch::stack({negative, positive}, -1).permute({2, 0, 1, 3});  // [T, C, true, predicted]
  *table_ = *table_ + table.reshape(table_->sizes());
}

CurveSet curves_of(const CurveOptions& o, const torch::Tensor& thresholds, const torch::Tensor* table,
                   const torch::Tensor* preds, const torch::Tensor* target, bool roc) {
  CurveSet set;
  if (table != nullptr) {
    const auto bounds = thresholds.to(table->device());
    set.together =
        roc ? roc_points_of_table(*table, bounds) : precision_recall_points_of_table(*table, bounds);
    return set;
  }
  const auto points = [&](const torch::Tensor& scores, const torch::Tensor& positive, bool no_ones) {
    return roc ? roc_points(scores, positive) : precision_recall_points(scores, positive, no_ones);
  };
  // As torchmetrics has it: of the targets of all classes, whose first is 0.
  const auto without_ones = [&](const torch::Tensor& labels) {
    return !roc && labels.numel() > 0 && labels.eq(0).all().item<bool>();
  };
  if (o.task == Task::kBinary) {
    set.together = points(*preds, target->eq(1), without_ones(*target));
    return set;
  }
  for (std::int64_t i = 0; i < columns(o); ++i) {
    auto scores = preds->select(1, i);
    if (o.task == Task::kMulticlass) {
      set.apart.push_back(points(scores, target->eq(i), without_ones(*target)));
      continue;
    }
    auto labels = target->select(1, i);
    if (const auto mask = counted(labels, o.ignore_index); mask.defined()) {
      scores = scores.index({mask});
      labels = labels.index({mask});
    }
    set.apart.push_back(points(scores, labels.eq(1), without_ones(labels)));
  }
  return set;
}

namespace {

MetricOutput named(const CurveSet& set, const std::string& x, const std::string& y) {
  MetricOutput::Named all;
  const auto add = [&](const Curve& curve, const std::string& suffix) {
    all.emplace_back(x + suffix, curve.x);
    all.emplace_back(y + suffix, curve.y);
    all.emplace_back("thresholds" + suffix, curve.thresholds);
  };
  if (set.together) add(*set.together, "");
  for (std::size_t i = 0; i < set.apart.size(); ++i) add(set.apart[i], "_" + std::to_string(i));
  return all;
}

}  // namespace

MetricOutput ROC::value() const {
  return named(curves_of(options_, thresholds_, table_, preds_, target_, /*roc=*/true), "fpr", "tpr");
}

MetricOutput PrecisionRecallCurve::value() const {
  return named(curves_of(options_, thresholds_, table_, preds_, target_, /*roc=*/false), "recall",
               "precision");
}

}  // namespace rtrain::metrics
