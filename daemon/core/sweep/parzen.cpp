#include "daemon/core/sweep/parzen.h"

#include "daemon/core/sweep/normal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

namespace rtrain::core {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// 1 for up to 25 points; of more the newest 25 have 1, and the older ones a ramp from 1/n to 1. The prior
/// has 1.
std::vector<double> kernel_weights(std::size_t n) {
  constexpr std::size_t kFlat = 25;
  std::vector<double> weights(n + 1, 1.0);
  if (n > kFlat) {
    const std::size_t ramp = n - kFlat;
    const double first = 1 / static_cast<double>(n);
    for (std::size_t i = 0; i < ramp; ++i)
      weights[i] =
          ramp == 1 ? first : first + static_cast<double>(i) * ((1 - first) / static_cast<double>(ramp - 1));
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (auto& weight : weights) weight /= sum;
  return weights;
}

/// The wider of the gaps to the neighbours, of the two outer ones the one gap between points, within
/// [range / min(100, kernels + 1), range].
std::vector<double> kernel_sigmas(const std::vector<double>& mus, double low, double high) {
  const std::size_t n = mus.size();
  std::vector<std::pair<double, std::uint32_t>> sorted(n);
  for (std::size_t i = 0; i < n; ++i) sorted[i] = {mus[i], static_cast<std::uint32_t>(i)};
  std::ranges::sort(sorted);
  const double range = high - low;
  const double least = range / std::min(100.0, 2.0 + static_cast<double>(n));
  std::vector<double> sigmas(n);
  for (std::size_t i = 0; i < n; ++i) {
    const double left = sorted[i].first - (i == 0 ? low : sorted[i - 1].first);
    const double right = (i + 1 == n ? high : sorted[i + 1].first) - sorted[i].first;
    double gap = std::max(left, right);
    if (n >= 2 && i == 0) gap = right;
    if (n >= 2 && i + 1 == n) gap = left;
    sigmas[sorted[i].second] = std::clamp(gap, least, range);
  }
  return sigmas;
}

/// P(low <= X <= high) of a normal whose mean lies within: never small.
double mass_around(double mu, double sigma, double low, double high) {
  constexpr double kNothing = 8.5;  // the tail beyond is less than the rounding of 1
  const double a = (mu - low) / sigma, b = (high - mu) / sigma;
  return 1 - (a < kNothing ? normal_cdf(-a) : 0) - (b < kNothing ? normal_cdf(-b) : 0);
}

double log_sum_exp(const std::vector<double>& logs) {
  const double largest = *std::ranges::max_element(logs);
  if (largest == -kInfinity) return largest;
  constexpr double kNothing = -45;  // exp() of it is less than the rounding of 1, a thousand times
  double sum = 0;
  for (const double log : logs)
    if (log - largest > kNothing) sum += std::exp(log - largest);
  return std::log(sum) + largest;
}

double scaled(const Axis& axis, double x) { return axis.log ? std::log(x) : x; }

}  // namespace

ParzenEstimator::ParzenEstimator(const Space& space, std::vector<std::size_t> axes,
                                 std::span<const Point* const> points)
    : space_(space), axes_(std::move(axes)), weights_(kernel_weights(points.size())), kernels_(axes_.size()) {
  for (const double weight : weights_) constants_.push_back(std::log(weight));
  for (std::size_t a = 0; a < axes_.size(); ++a) {
    const auto& axis = space_[axes_[a]];
    axis.kind == AxisKind::kCategory ? add_category(axis, a, points) : add_numeric(axis, a, points);
  }
}

void ParzenEstimator::add_numeric(const Axis& axis, std::size_t a, std::span<const Point* const> points) {
  auto& kernels = kernels_[a];
  kernels.low = scaled(axis, axis.edge_low());
  kernels.high = scaled(axis, axis.edge_high());
  kernels.mus.reserve(points.size() + 1);
  for (const auto* point : points) kernels.mus.push_back(scaled(axis, (*point)[axes_[a]]));
  kernels.sigmas = kernel_sigmas(kernels.mus, kernels.low, kernels.high);
  kernels.mus.push_back(0.5 * (kernels.low + kernels.high));
  kernels.sigmas.push_back(kernels.high - kernels.low);
  if (axis.kind != AxisKind::kContinuous) return;
  const double root = std::sqrt(2 * std::numbers::pi);
  for (std::size_t k = 0; k < kernels.mus.size(); ++k)
    constants_[k] -= std::log(mass_around(kernels.mus[k], kernels.sigmas[k], kernels.low, kernels.high) *
                              kernels.sigmas[k] * root);
}

void ParzenEstimator::add_category(const Axis& axis, std::size_t a, std::span<const Point* const> points) {
  auto& kernels = kernels_[a];
  for (const auto* point : points) kernels.categories.push_back(static_cast<std::size_t>((*point)[axes_[a]]));
  const double count = static_cast<double>(axis.count);
  const double prior = 1 / static_cast<double>(points.size() + 1);  // spread over every kernel
  kernels.log_hit = std::log((1 + prior) / (1 + count * prior));
  kernels.log_miss = std::log(prior / (1 + count * prior));
  kernels.log_prior = -std::log(count);
}

double ParzenEstimator::sample_axis(std::size_t a, std::size_t kernel, double u) const {
  const auto& axis = space_[axes_[a]];
  const auto& kernels = kernels_[a];
  if (axis.kind == AxisKind::kCategory) {
    const bool prior = kernel == kernels.categories.size();
    double sum = 0;
    for (std::size_t c = 0; c + 1 < axis.count; ++c) {
      sum += std::exp(prior                             ? kernels.log_prior
                      : c == kernels.categories[kernel] ? kernels.log_hit
                                                        : kernels.log_miss);
      if (u < sum) return static_cast<double>(c);
    }
    return static_cast<double>(axis.count - 1);
  }
  // The inverse of the distribution of a normal that is cut at both ends.
  const double mu = kernels.mus[kernel], sigma = kernels.sigmas[kernel];
  const double below = normal_cdf((kernels.low - mu) / sigma),
               until = normal_cdf((kernels.high - mu) / sigma);
  const double p = std::clamp(below + u * (until - below), std::numeric_limits<double>::min(), 1 - 0x1p-53);
  const double drawn = std::clamp(mu + sigma * normal_quantile(p), kernels.low, kernels.high);
  const double x = axis.log ? std::exp(drawn) : drawn;
  return axis.kind == AxisKind::kDiscrete ? axis.rounded(x) : std::clamp(x, axis.low, axis.high);
}

std::vector<Point> ParzenEstimator::sample(std::uint64_t seed, std::int64_t trial, std::size_t count) const {
  std::vector<double> cumulated(weights_.size());
  std::partial_sum(weights_.begin(), weights_.end(), cumulated.begin());
  std::vector<Point> points(count, Point(space_.size(), std::numeric_limits<double>::quiet_NaN()));
  // One key for all axes of this estimator: no other one of the trial has its first axis.
  Draws choose(seed, trial, axes_.front(), Purpose::kKernel);
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < count; ++i) {
    const auto kernel = std::ranges::upper_bound(cumulated, choose.uniform()) - cumulated.begin();
    chosen.push_back(std::min(static_cast<std::size_t>(kernel), weights_.size() - 1));
  }
  for (std::size_t a = 0; a < axes_.size(); ++a) {
    Draws draws(seed, trial, axes_[a], Purpose::kCandidate);
    for (std::size_t i = 0; i < count; ++i) points[i][axes_[a]] = sample_axis(a, chosen[i], draws.inner());
  }
  return points;
}

/// Adds the mass of the cell of `x` under each kernel. Points of a discrete axis are often equal, and so are
/// neighbouring kernels: what is asked for again is not computed again.
void ParzenEstimator::add_cells(const Axis& axis, const AxisKernels& kernels, double x,
                                std::vector<double>& logs) const {
  const double left = scaled(axis, x - axis.step / 2), right = scaled(axis, x + axis.step / 2);
  std::vector<std::pair<std::pair<double, double>, double>> known;
  constexpr std::size_t kKnownMax = 64;
  for (std::size_t k = 0; k < logs.size(); ++k) {
    const double mu = kernels.mus[k], sigma = kernels.sigmas[k];
    const std::pair key(mu, sigma);
    const auto found = std::ranges::find(known, key, &std::pair<std::pair<double, double>, double>::first);
    if (found != known.end()) {
      logs[k] += found->second;
      continue;
    }
    const double mass = log_normal_mass((left - mu) / sigma, (right - mu) / sigma) -
                        std::log(mass_around(mu, sigma, kernels.low, kernels.high));
    if (known.size() < kKnownMax) known.emplace_back(key, mass);
    logs[k] += mass;
  }
}

std::vector<double> ParzenEstimator::log_pdf(const std::vector<Point>& points) const {
  std::vector<double> result, logs(weights_.size());
  for (const auto& point : points) {
    std::ranges::copy(constants_, logs.begin());
    for (std::size_t a = 0; a < axes_.size(); ++a) {
      const auto& axis = space_[axes_[a]];
      const auto& kernels = kernels_[a];
      const double x = point[axes_[a]];
      if (axis.kind == AxisKind::kContinuous) {
        const double at = scaled(axis, x);
        for (std::size_t k = 0; k < logs.size(); ++k) {
          const double z = (at - kernels.mus[k]) / kernels.sigmas[k];
          logs[k] -= 0.5 * z * z;
        }
      } else if (axis.kind == AxisKind::kDiscrete) {
        add_cells(axis, kernels, x, logs);
      } else {
        const auto category = static_cast<std::size_t>(x);
        for (std::size_t k = 0; k + 1 < logs.size(); ++k)
          logs[k] += kernels.categories[k] == category ? kernels.log_hit : kernels.log_miss;
        logs.back() += kernels.log_prior;
      }
    }
    result.push_back(log_sum_exp(logs));
  }
  return result;
}

}  // namespace rtrain::core
