#include "daemon/core/sweep/cmaes.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace rtrain::core {
namespace {

constexpr double kTiny = 1e-8;
constexpr double kSigmaMax = 1e32;
// Points closer than this are one point in a double; a smaller step would divide by nothing.
constexpr double kSigmaMin = 1e-12, kLengthMin = 1e-12;

double norm(const std::vector<double>& x) {
  return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
}

std::vector<std::size_t> searched_axes(const Space& space) {
  std::vector<std::size_t> axes;
  for (std::size_t i = 0; i < space.size(); ++i)
    if (space[i].kind != AxisKind::kFixed) axes.push_back(i);
  return axes;
}

}  // namespace

// Numbers of equations are those of the tutorial.
CmaEs::CmaEs(std::size_t dimensions, double sigma0, int popsize)
    : n_(dimensions),
      popsize_(popsize > 0 ? static_cast<std::size_t>(popsize)
                           : 4 + static_cast<std::size_t>(std::floor(3 * std::log(static_cast<double>(n_))))),
      mu_(popsize_ / 2),
      mean_(n_, 0.5),
      p_sigma_(n_),
      p_c_(n_),
      sigma_(sigma0 > 0 ? std::max(kSigmaMin, sigma0) : 1.0 / 6),
      c_(Matrix::identity(n_)),
      axes_(Matrix::identity(n_)),
      lengths_(n_, 1.0) {
  const double n = static_cast<double>(n_);
  std::vector<double> raw;  // eq. 49
  for (std::size_t i = 0; i < popsize_; ++i)
    raw.push_back(std::log((static_cast<double>(popsize_) + 1) / 2) - std::log(static_cast<double>(i) + 1));
  const auto effective = [&](std::size_t begin, std::size_t end) {
    double sum = 0, squares = 0;
    for (std::size_t i = begin; i < end; ++i) sum += raw[i], squares += raw[i] * raw[i];
    return sum * sum / squares;
  };
  mu_eff_ = effective(0, mu_);
  const double mu_eff_minus = effective(mu_, popsize_);
  constexpr double kAlpha = 2;
  c1_ = kAlpha / ((n + 1.3) * (n + 1.3) + mu_eff_);
  c_mu_ = std::min(1 - c1_ - kTiny,
                   kAlpha * (mu_eff_ - 2 + 1 / mu_eff_) / ((n + 2) * (n + 2) + kAlpha * mu_eff_ / 2));
  const double negative = std::min({1 + c1_ / c_mu_, 1 + 2 * mu_eff_minus / (mu_eff_ + 2),  // eq. 50, 51
                                    (1 - c1_ - c_mu_) / (n * c_mu_)});                      // eq. 52
  double positive_sum = 0, negative_sum = 0;
  for (const double w : raw) (w > 0 ? positive_sum : negative_sum) += std::abs(w);
  for (const double w : raw)
    weights_.push_back(w >= 0 ? w / positive_sum : negative * w / negative_sum);  // eq. 53
  c_sigma_ = (mu_eff_ + 2) / (n + mu_eff_ + 5);                                   // eq. 55
  d_sigma_ = 1 + 2 * std::max(0.0, std::sqrt((mu_eff_ - 1) / (n + 1)) - 1) + c_sigma_;
  c_c_ = (4 + mu_eff_ / n) / (n + 4 + 2 * mu_eff_ / n);  // eq. 56
  chi_n_ = std::sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n));
}

std::vector<double> CmaEs::ask(std::uint64_t seed, std::int64_t trial) const {
  std::vector<Draws> draws;
  for (std::size_t i = 0; i < n_; ++i) draws.emplace_back(seed, trial, i, Purpose::kPopulation);
  std::vector<double> x(n_), z(n_);
  for (std::size_t tries = 0; tries <= 10 * n_; ++tries) {
    for (std::size_t i = 0; i < n_; ++i) z[i] = lengths_[i] * draws[i].normal();
    for (std::size_t i = 0; i < n_; ++i) {
      x[i] = mean_[i];
      for (std::size_t j = 0; j < n_; ++j) x[i] += sigma_ * axes_(i, j) * z[j];
    }
    if (std::ranges::all_of(x, [](double value) { return value >= 0 && value <= 1; })) return x;
  }
  for (auto& value : x) value = std::clamp(value, 0.0, 1.0);
  return x;
}

/// C^(-1/2) y
std::vector<double> CmaEs::whitened(const std::vector<double>& y) const {
  std::vector<double> result(n_);
  for (std::size_t k = 0; k < n_; ++k) {
    double along = 0;
    for (std::size_t i = 0; i < n_; ++i) along += axes_(i, k) * y[i];
    for (std::size_t i = 0; i < n_; ++i) result[i] += axes_(i, k) * along / lengths_[k];
  }
  return result;
}

void CmaEs::tell(std::vector<std::pair<std::vector<double>, double>> solutions) {
  ++generation_;
  std::ranges::stable_sort(solutions, {}, &std::pair<std::vector<double>, double>::second);
  std::vector<std::vector<double>> ys;
  for (const auto& solution : solutions) {
    ys.emplace_back();
    for (std::size_t i = 0; i < n_; ++i) ys.back().push_back((solution.first[i] - mean_[i]) / sigma_);
  }
  std::vector<double> y_w(n_);  // eq. 41
  for (std::size_t k = 0; k < mu_; ++k)
    for (std::size_t i = 0; i < n_; ++i) y_w[i] += weights_[k] * ys[k][i];
  for (std::size_t i = 0; i < n_; ++i) mean_[i] += sigma_ * y_w[i];
  adapt(ys, y_w);
  decompose();
}

void CmaEs::adapt(const std::vector<std::vector<double>>& ys, const std::vector<double>& y_w) {
  const double n = static_cast<double>(n_);
  const auto step = whitened(y_w);
  for (std::size_t i = 0; i < n_; ++i)
    p_sigma_[i] = (1 - c_sigma_) * p_sigma_[i] + std::sqrt(c_sigma_ * (2 - c_sigma_) * mu_eff_) * step[i];
  const double length = norm(p_sigma_);
  sigma_ = std::max(kSigmaMin,
                    std::min(sigma_ * std::exp(c_sigma_ / d_sigma_ * (length / chi_n_ - 1)), kSigmaMax));
  const double left =
      length / std::sqrt(1 - std::pow(1 - c_sigma_, 2 * (static_cast<double>(generation_) + 1)));
  const double h = left < (1.4 + 2 / (n + 1)) * chi_n_ ? 1 : 0;
  for (std::size_t i = 0; i < n_; ++i)  // eq. 45
    p_c_[i] = (1 - c_c_) * p_c_[i] + h * std::sqrt(c_c_ * (2 - c_c_) * mu_eff_) * y_w[i];

  std::vector<double> weights;  // eq. 46
  for (std::size_t k = 0; k < popsize_; ++k) {
    const double whole = weights_[k] >= 0 ? 0 : norm(whitened(ys[k]));
    weights.push_back(weights_[k] >= 0 ? weights_[k] : weights_[k] * n / (whole * whole + kTiny));
  }
  const double delta = (1 - h) * c_c_ * (2 - c_c_);
  const double keep = 1 + c1_ * delta - c1_ - c_mu_ * std::accumulate(weights_.begin(), weights_.end(), 0.0);
  for (std::size_t i = 0; i < n_; ++i)  // eq. 47
    for (std::size_t j = 0; j < n_; ++j) {
      double rank_mu = 0;
      for (std::size_t k = 0; k < popsize_; ++k) rank_mu += weights[k] * ys[k][i] * ys[k][j];
      c_(i, j) = keep * c_(i, j) + c1_ * p_c_[i] * p_c_[j] + c_mu_ * rank_mu;
    }
}

/// C as its eigenvectors and the lengths of its axes; what rounding made of it is put right.
void CmaEs::decompose() {
  for (std::size_t i = 0; i < n_; ++i)
    for (std::size_t j = 0; j < i; ++j) c_(i, j) = c_(j, i) = (c_(i, j) + c_(j, i)) / 2;
  auto eigen = eigen_of(c_);
  axes_ = std::move(eigen.vectors);
  for (std::size_t i = 0; i < n_; ++i)
    lengths_[i] = std::max(kLengthMin, std::sqrt(eigen.values[i] < 0 ? kTiny : eigen.values[i]));
  for (std::size_t i = 0; i < n_; ++i)
    for (std::size_t j = 0; j < n_; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < n_; ++k) sum += axes_(i, k) * lengths_[k] * lengths_[k] * axes_(j, k);
      c_(i, j) = sum;
    }
}

CmaEsSearch::CmaEsSearch(const Space& space, const proto::SearchConfig& options)
    : axes_(searched_axes(space)),
      strategy_(std::max<std::size_t>(1, axes_.size()), options.sigma0, options.popsize) {}

Point CmaEsSearch::suggest(const Space& space, std::uint64_t seed, std::int64_t trial) const {
  const auto x = strategy_.ask(seed, trial);
  Point point(space.size());
  for (std::size_t i = 0; i < space.size(); ++i) point[i] = space[i].low;
  // 1 is the end of the last cell of a discrete axis and belongs to it.
  for (std::size_t a = 0; a < axes_.size(); ++a)
    point[axes_[a]] = space[axes_[a]].from_unit(std::min(x[a], 1 - 0x1p-53));
  return point;
}

void CmaEsSearch::on_loss(const Space& space, const Point& point, std::int64_t generation, double loss) {
  if (generation != strategy_.generation() || solutions_.size() >= strategy_.popsize()) return;
  std::vector<double> x;
  for (const auto i : axes_) x.push_back(space[i].to_unit(point[i]));
  if (x.empty()) return;
  solutions_.emplace_back(std::move(x), loss);
  if (solutions_.size() < strategy_.popsize()) return;
  strategy_.tell(std::move(solutions_));
  solutions_.clear();
}

}  // namespace rtrain::core
