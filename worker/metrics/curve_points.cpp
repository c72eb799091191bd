#include "worker/metrics/curve_points.h"

#include "worker/metrics/class_inputs.h"
#include "worker/metrics/warnings.h"

#include <torch/torch.h>

namespace rtrain::metrics {
namespace {

/// True and false positives when all predictions from the highest down to a threshold are positive; equal
/// predictions are one point.
struct Steps {
  torch::Tensor true_positives, false_positives, thresholds;
};

Steps steps_of(const torch::Tensor& preds, const torch::Tensor& positive) {
  const auto [sorted, order] = preds.sort(/*dim=*/0, /*descending=*/true);
  const auto hits = positive.index_select(0, order).to(torch::kFloat64).cumsum(0);
  const auto last = torch::tensor({sorted.size(0) - 1}, order.options());
  const auto ends = torch::cat({sorted.diff().ne(0).nonzero().reshape({-1}), last});
  const auto tp = hits.index_select(0, ends);
  return {tp, ends.to(torch::kFloat64) + 1 - tp, sorted.index_select(0, ends).to(torch::kFloat64)};
}

torch::Tensor with_first(double value, const torch::Tensor& rest) {
  return torch::cat({torch::full({1}, value, rest.options()), rest});
}

torch::Tensor with_last(const torch::Tensor& rest, double value) {
  auto shape = rest.sizes().vec();
  shape.back() = 1;
  return torch::cat({rest, torch::full(shape, value, rest.options())}, -1);
}

/// [T, ..., 2, 2] -> [..., T], float64
torch::Tensor cell(const torch::Tensor& table, int is, int predicted) {
  return table.select(-2, is).select(-1, predicted).movedim(0, -1).to(torch::kFloat64);
}

const torch::Tensor& nothing_kept() {
  static const auto empty = torch::zeros({0}, torch::kFloat64);
  return empty;
}

}  // namespace

Curve roc_points(const torch::Tensor& preds, const torch::Tensor& positive) {
  if (preds.numel() == 0) {
    const auto start = torch::zeros({1}, torch::dtype(torch::kFloat64).device(preds.device()));
    return {start, start, start + 1};
  }
  const auto steps = steps_of(preds, positive);
  const auto rate = [](const torch::Tensor& counts, const char* missing, const char* of) {
    const auto all = counts[-1];
    if (all.item<double>() <= 0) {
      warn_once(std::string("a curve of targets without ") + missing + " samples: its " + of +
                " positive rate is taken as 0");
      return torch::zeros_like(counts);
    }
    return counts / all;
  };
  return {rate(with_first(0, steps.false_positives), "negative", "false"),
          rate(with_first(0, steps.true_positives), "positive", "true"), with_first(1, steps.thresholds)};
}

Curve precision_recall_points(const torch::Tensor& preds, const torch::Tensor& positive, bool no_ones) {
  if (preds.numel() == 0) {
    const auto end = torch::zeros({1}, torch::dtype(torch::kFloat64).device(preds.device()));
    return {end, end + 1, nothing_kept().to(preds.device())};
  }
  const auto steps = steps_of(preds, positive);
  const auto precision = steps.true_positives / (steps.true_positives + steps.false_positives);
  auto recall = steps.true_positives / steps.true_positives[-1];
  if (no_ones) {
    warn_once("a precision-recall curve of targets without positive samples: its recall is taken as 1");
    recall = torch::ones_like(recall);
  }
  return {with_last(recall.flip(0), 0), with_last(precision.flip(0), 1), steps.thresholds.flip(0)};
}

Curve roc_points_of_table(const torch::Tensor& table, const torch::Tensor& thresholds) {
  const auto tn = cell(table, 0, 0), fp = cell(table, 0, 1), fn = cell(table, 1, 0), tp = cell(table, 1, 1);
  return {divided(fp, fp + tn).flip(-1), divided(tp, tp + fn).flip(-1),
          thresholds.to(torch::kFloat64).flip(0)};
}

Curve precision_recall_points_of_table(const torch::Tensor& table, const torch::Tensor& thresholds) {
  const auto fp = cell(table, 0, 1), fn = cell(table, 1, 0), tp = cell(table, 1, 1);
  return {with_last(tp / (tp + fn), 0), with_last(tp / (tp + fp), 1), thresholds.to(torch::kFloat64)};
}

}  // namespace rtrain::metrics
