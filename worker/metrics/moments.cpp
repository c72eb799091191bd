// Correlation from means and co-moments, which parts of the data are put together by.
#include "worker/metrics/number_inputs.h"

#include <torch/torch.h>

#include <cmath>
#include <limits>

namespace rtrain::metrics {
namespace {

MetricStates together(const MetricStates& a, const MetricStates& b) {
  const auto &n1 = a.at("total"), &n2 = b.at("total");
  const auto n = (n1 + n2).clamp_min(1);
  const auto dx = b.at("mean_x") - a.at("mean_x"), dy = b.at("mean_y") - a.at("mean_y");
  const auto share = n2 / n, cross = n1 * n2 / n;
  return {{"total", n1 + n2},
          {"mean_x", a.at("mean_x") + dx * share},
          {"mean_y", a.at("mean_y") + dy * share},
          {"dev_x", torch::maximum(a.at("dev_x"), b.at("dev_x"))},
          {"dev_y", torch::maximum(a.at("dev_y"), b.at("dev_y"))},
          {"var_x", a.at("var_x") + b.at("var_x") + dx.square() * cross},
          {"var_y", a.at("var_y") + b.at("var_y") + dy.square() * cross},
          {"cov", a.at("cov") + b.at("cov") + dx * dy * cross}};
}

torch::Tensor of_outputs(std::int64_t num_outputs) { return torch::zeros({num_outputs}, torch::kFloat64); }

torch::Tensor one_or_all(const torch::Tensor& values) { return values.numel() == 1 ? values[0] : values; }

}  // namespace

MomentsMetric::MomentsMetric(std::string name, std::int64_t num_outputs)
    : PredictionMetric(std::move(name)),
      num_outputs_(checked_outputs(this->name(), num_outputs)),
      mean_x_(add_state("mean_x", of_outputs(num_outputs), Reduce::kMerge)),
      mean_y_(add_state("mean_y", of_outputs(num_outputs), Reduce::kMerge)),
      dev_x_(add_state("dev_x", of_outputs(num_outputs), Reduce::kMerge)),
      dev_y_(add_state("dev_y", of_outputs(num_outputs), Reduce::kMerge)),
      var_x_(add_state("var_x", of_outputs(num_outputs), Reduce::kMerge)),
      var_y_(add_state("var_y", of_outputs(num_outputs), Reduce::kMerge)),
      cov_(add_state("cov", of_outputs(num_outputs), Reduce::kMerge)),
      total_(add_state("total", of_outputs(1), Reduce::kMerge)) {
  set_merge(&together);
}

void MomentsMetric::add(const torch::Tensor& preds, const torch::Tensor& target) {
  auto [x, y] = columns(name(), num_outputs_, preds, target);
  x = x.reshape({-1, num_outputs_});
  y = y.reshape({-1, num_outputs_});
  const auto mean_x = x.mean(0), mean_y = y.mean(0);
  const auto from_x = x - mean_x, from_y = y - mean_y;
  const MetricStates own{{"mean_x", mean_x_}, {"mean_y", mean_y_}, {"dev_x", dev_x_}, {"dev_y", dev_y_},
                         {"var_x", var_x_},   {"var_y", var_y_},   {"cov", cov_},     {"total", total_}};
  const MetricStates batch{{"mean_x", mean_x},
                           {"mean_y", mean_y},
                           {"dev_x", from_x.abs().amax(0)},
                           {"dev_y", from_y.abs().amax(0)},
                           {"var_x", from_x.square().sum(0)},
                           {"var_y", from_y.square().sum(0)},
                           {"cov", (from_x * from_y).sum(0)},
                           {"total", torch::full_like(total_, static_cast<double>(x.size(0)))}};
  const auto all = together(own, batch);
  mean_x_ = all.at("mean_x");
  mean_y_ = all.at("mean_y");
  dev_x_ = torch::maximum(all.at("dev_x"), (x - mean_x_).abs().amax(0));
  dev_y_ = torch::maximum(all.at("dev_y"), (y - mean_y_).abs().amax(0));
  var_x_ = all.at("var_x");
  var_y_ = all.at("var_y");
  cov_ = all.at("cov");
  total_ = all.at("total");
}

torch::Tensor MomentsMetric::correlation() const {
  // Variances in units of the largest deviation: what is below this is rounding of a series that does not
  // vary.
  const auto bound = std::sqrt(std::numeric_limits<double>::epsilon());
  const auto of = total_ - 1;
  const auto x = var_x_ / of / dev_x_.square(), y = var_y_ / of / dev_y_.square();
  const auto xy = cov_ / of / (dev_x_ * dev_y_);
  const auto varies = x.ge(bound)
                          .logical_and(y.ge(bound))
                          .logical_and(xy.isfinite())
                          .logical_and(x.isfinite())
                          .logical_and(y.isfinite());
  const auto r = (xy / (x * y).sqrt()).clamp(-1, 1);
  return torch::where(varies, r, torch::full_like(r, std::numeric_limits<double>::quiet_NaN()));
}

MetricOutput PearsonCorrCoef::value() const { return one_or_all(correlation()); }

MetricOutput ConcordanceCorrCoef::value() const {
  const auto x = var_x_ / (total_ - 1), y = var_y_ / (total_ - 1);
  return one_or_all(2 * correlation() * x.sqrt() * y.sqrt() / (x + y + (mean_x_ - mean_y_).square()));
}

}  // namespace rtrain::metrics
