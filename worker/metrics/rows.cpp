// Metrics of two rows.
#include "worker/metrics/number_inputs.h"

#include <torch/torch.h>

#include <stdexcept>

namespace rtrain::metrics {

RowMetric::RowMetric(std::string name, Reduction reduction)
    : PredictionMetric(std::move(name)),
      reduction_(reduction),
      rows_(reduction == Reduction::kNone
                ? add_state("rows", torch::zeros({0}, torch::kFloat64), Reduce::kCat)
                : add_state("rows", torch::zeros({}, torch::kFloat64), Reduce::kSum)),
      total_(add_state("total", torch::zeros({}, torch::kFloat64), Reduce::kSum)) {}

void RowMetric::add(const torch::Tensor& preds, const torch::Tensor& target) {
  if (preds.dim() != 2 || preds.sizes() != target.sizes())
    throw std::invalid_argument(name() + ".update(): the inputs have shapes " + shape_of(preds) + " and " +
                                shape_of(target) + ", expected twice the same [N, D]");
  const auto values = of_rows(preds.to(torch::kFloat64), target.to(torch::kFloat64));
  if (reduction_ == Reduction::kNone) {
    append(rows_, values);
  } else {
    rows_ = rows_ + values.sum();
  }
  total_ = total_ + static_cast<double>(values.size(0));
}

MetricOutput RowMetric::value() const { return reduction_ == Reduction::kMean ? rows_ / total_ : rows_; }

torch::Tensor CosineSimilarity::of_rows(const torch::Tensor& a, const torch::Tensor& b) const {
  return (a * b).sum(-1) / (a.norm(2, -1) * b.norm(2, -1));
}

torch::Tensor KLDivergence::of_rows(const torch::Tensor& p, const torch::Tensor& q) const {
  if (log_prob_) return (p.exp() * (p - q)).sum(-1);
  const auto a = p / p.sum(-1, /*keepdim=*/true), b = q / q.sum(-1, /*keepdim=*/true);
  return torch::xlogy(a, a / b).sum(-1);
}

}  // namespace rtrain::metrics
