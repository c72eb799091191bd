// Correlation of ranks.
#include "worker/metrics/number_inputs.h"

#include <torch/torch.h>

#include <algorithm>
#include <limits>

namespace rtrain::metrics {

RankMetric::RankMetric(std::string name, std::int64_t num_outputs)
    : PredictionMetric(std::move(name)),
      num_outputs_(checked_outputs(this->name(), num_outputs)),
      preds_(add_state("preds", torch::zeros({0, num_outputs}, torch::kFloat32), Reduce::kCat)),
      target_(add_state("target", torch::zeros({0, num_outputs}, torch::kFloat32), Reduce::kCat)) {}

void RankMetric::add(const torch::Tensor& preds, const torch::Tensor& target) {
  (void)columns(name(), num_outputs_, preds, target);
  // Ranks need no more digits than the values have.
  const auto kept = [&](const torch::Tensor& values) {
    const bool narrow = values.scalar_type() == torch::kFloat32 || values.scalar_type() == torch::kHalf ||
                        values.scalar_type() == torch::kBFloat16;
    return values.to(narrow ? torch::kFloat32 : torch::kFloat64).reshape({-1, num_outputs_});
  };
  append(preds_, kept(preds));
  append(target_, kept(target));
}

MetricOutput RankMetric::value() const {
  std::vector<torch::Tensor> all;
  for (std::int64_t i = 0; i < num_outputs_; ++i)
    all.push_back(preds_.size(0) == 0 ? torch::full({}, std::numeric_limits<double>::quiet_NaN(),
                                                    torch::dtype(torch::kFloat64).device(preds_.device()))
                                      : coefficient(preds_.select(1, i), target_.select(1, i)));
  return num_outputs_ == 1 ? all.front() : torch::stack(all);
}

namespace {

/// 1 for the smallest; equal values share the mean of their ranks.
torch::Tensor mean_ranks(const torch::Tensor& values) {
  const auto [distinct, which, counts] = torch::_unique2(values, /*sorted=*/true, /*return_inverse=*/true,
                                                         /*return_counts=*/true);
  const auto real = counts.to(torch::kFloat64);
  const auto last = real.cumsum(0);
  return (last - (real - 1) / 2).index_select(0, which);
}

/// Pairs of equal values.
double ties(const torch::Tensor& values) {
  const auto counts =
      std::get<2>(torch::_unique2(values, /*sorted=*/true, /*return_inverse=*/false, /*return_counts=*/true))
          .to(torch::kFloat64);
  return (counts * (counts - 1) / 2).sum().item<double>();
}

}  // namespace

torch::Tensor SpearmanCorrCoef::coefficient(const torch::Tensor& x, const torch::Tensor& y) const {
  constexpr double kEpsilon = 1e-6;  // keeps a series that does not vary at 0
  const auto a = mean_ranks(x), b = mean_ranks(y);
  const auto from_a = a - a.mean(), from_b = b - b.mean();
  const auto cov = (from_a * from_b).mean();
  return (cov / (from_a.square().mean().sqrt() * from_b.square().mean().sqrt() + kEpsilon)).clamp(-1, 1);
}

torch::Tensor KendallRankCorrCoef::coefficient(const torch::Tensor& x, const torch::Tensor& y) const {
  const auto samples = x.size(0);
  // Blocks of rows: all pairs at once would take the square of the samples in memory.
  constexpr std::int64_t kPairs = 1 << 22;
  const auto block = std::max<std::int64_t>(1, kPairs / samples);
  auto difference = torch::zeros({}, torch::dtype(torch::kFloat64).device(x.device()));
  for (std::int64_t begin = 0; begin < samples; begin += block) {
    const auto count = std::min(block, samples - begin);
    const auto sign = [&](const torch::Tensor& values) {
      return (values.narrow(0, begin, count).unsqueeze(1) - values.unsqueeze(0)).sign();
    };
    difference = difference + (sign(x) * sign(y)).sum(torch::kFloat64);
  }
  const auto pairs = static_cast<double>(samples) * static_cast<double>(samples - 1) / 2;
  const auto norm = torch::scalar_tensor((pairs - ties(x)) * (pairs - ties(y)), difference.options()).sqrt();
  return difference / 2 / norm;  // each pair was met twice
}

}  // namespace rtrain::metrics
