// CMA-ES (Hansen, "The CMA evolution strategy: a tutorial", 2016), with the parameters of cmaes 0.13. Pure.
#pragma once

#include "daemon/core/sweep/observation.h"
#include "daemon/core/sweep/symmetric.h"

#include <span>
#include <utility>
#include <vector>

namespace rtrain::core {

/// The distribution that points are drawn from, in the unit cube. A value.
class CmaEs {
 public:
  /// `sigma0`: 0 is 1/6 of the width of a domain; `popsize`: 0 is 4 + floor(3 ln dimensions). dimensions
  /// >= 1.
  CmaEs(std::size_t dimensions, double sigma0, int popsize);

  [[nodiscard]] std::int64_t generation() const { return generation_; }
  [[nodiscard]] std::size_t popsize() const { return popsize_; }
  [[nodiscard]] const std::vector<double>& mean() const { return mean_; }
  [[nodiscard]] double sigma() const { return sigma_; }
  [[nodiscard]] const Matrix& covariance() const { return c_; }
  [[nodiscard]] const std::vector<double>& sigma_path() const { return p_sigma_; }
  [[nodiscard]] const std::vector<double>& c_path() const { return p_c_; }

  /// A point of trial `trial` in the cube: drawn again up to 10 * dimensions times while it lies outside,
  /// then clipped.
  [[nodiscard]] std::vector<double> ask(std::uint64_t seed, std::int64_t trial) const;
  /// popsize() points of this generation and their losses; infinity is worst. Starts the next generation.
  void tell(std::vector<std::pair<std::vector<double>, double>> solutions);

 private:
  void decompose();
  [[nodiscard]] std::vector<double> whitened(const std::vector<double>& y) const;
  void adapt(const std::vector<std::vector<double>>& ys, const std::vector<double>& y_w);

  std::size_t n_, popsize_, mu_;
  std::vector<double> weights_;
  double mu_eff_, c1_, c_mu_, c_sigma_, d_sigma_, c_c_, chi_n_;
  std::int64_t generation_ = 0;
  std::vector<double> mean_, p_sigma_, p_c_;
  double sigma_;
  Matrix c_;
  Matrix axes_;                  ///< eigenvectors of c_
  std::vector<double> lengths_;  ///< square roots of its eigenvalues
};

/// CMA-ES as a searcher: what it knows is folded from trials that end. A value.
class CmaEsSearch {
 public:
  CmaEsSearch(const Space& space, const proto::SearchConfig& options);
  [[nodiscard]] std::int64_t generation() const { return strategy_.generation(); }
  [[nodiscard]] const CmaEs& strategy() const { return strategy_; }
  [[nodiscard]] Point suggest(const Space& space, std::uint64_t seed, std::int64_t trial) const;
  /// A trial that was suggested in `generation` has a loss. The first popsize of a generation count; a trial
  /// of an older one counts in none.
  void on_loss(const Space& space, const Point& point, std::int64_t generation, double loss);

 private:
  std::vector<std::size_t> axes_;
  CmaEs strategy_;
  std::vector<std::pair<std::vector<double>, double>> solutions_;
};

}  // namespace rtrain::core
