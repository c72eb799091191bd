// A mixture of kernels over some axes of a space, one for each observed point and one for the prior: the
// density of Optuna 5.0's TPE. Pure.
//
// Sources: Bergstra et al., "Algorithms for hyper-parameter optimization" (2011); Watanabe, "Tree-structured
// Parzen estimator: understanding its algorithm components" (2023).
#pragma once

#include "daemon/core/sweep/observation.h"

#include <span>
#include <vector>

namespace rtrain::core {

class ParzenEstimator {
 public:
  /// `axes`: not fixed ones. `points`: oldest first; all have all of the axes. An axis that is searched by
  /// its logarithm is modelled by it.
  ParzenEstimator(const Space& space, std::vector<std::size_t> axes, std::span<const Point* const> points);

  /// Kernels: one for each point, the last is the prior's.
  [[nodiscard]] const std::vector<double>& weights() const { return weights_; }
  /// Of numeric axis `axes[a]`, by kernel.
  [[nodiscard]] const std::vector<double>& mus(std::size_t a) const { return kernels_[a].mus; }
  [[nodiscard]] const std::vector<double>& sigmas(std::size_t a) const { return kernels_[a].sigmas; }

  /// Draws `count` points; coordinates of other axes are NaN.
  [[nodiscard]] std::vector<Point> sample(std::uint64_t seed, std::int64_t trial, std::size_t count) const;
  /// The logarithm of the density at each point, a mass in the discrete axes.
  [[nodiscard]] std::vector<double> log_pdf(const std::vector<Point>& points) const;

 private:
  /// The kernels of one axis.
  struct AxisKernels {
    std::vector<double> mus, sigmas;      ///< numeric; of logarithms where the axis is logarithmic
    double low = 0, high = 0;             ///< the ends at which the kernels are cut, likewise
    std::vector<std::size_t> categories;  ///< category: of each point
    double log_hit = 0, log_miss = 0, log_prior = 0;
  };
  void add_numeric(const Axis& axis, std::size_t a, std::span<const Point* const> points);
  void add_category(const Axis& axis, std::size_t a, std::span<const Point* const> points);
  void add_cells(const Axis& axis, const AxisKernels& kernels, double x, std::vector<double>& logs) const;
  [[nodiscard]] double sample_axis(std::size_t a, std::size_t kernel, double u) const;

  const Space& space_;
  std::vector<std::size_t> axes_;
  std::vector<double> weights_;
  std::vector<AxisKernels> kernels_;
  /// by kernel: what does not depend on the point, the weight and the normalizers of the continuous axes
  std::vector<double> constants_;
};

}  // namespace rtrain::core
