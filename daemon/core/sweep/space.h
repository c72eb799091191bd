// The search space: parameters as axes of numbers, points on them, and the way to JSON and back. Pure.
#pragma once

#include "daemon/core/sweep/philox.h"
#include "proto/sweep/sweep_spec.h"

#include <span>
#include <vector>

namespace rtrain::core {

/// One coordinate for each parameter, in the order of the parameters: the number itself, of `normal` its
/// quantile, of values the index; NaN when the parameter's condition is not met.
using Point = std::vector<double>;

enum class AxisKind {
  kContinuous,  ///< any number in [low, high]
  kDiscrete,    ///< low + k * step, whose neighbours are alike
  kCategory,    ///< indices that are not alike
  kFixed,       ///< one value
};

/// A parameter as searchers see it.
struct Axis {
  AxisKind kind = AxisKind::kFixed;
  double low = 0, high = 0;  ///< the first and the last value
  double step = 0;           ///< kDiscrete and kCategory: > 0
  bool log = false;          ///< distances are those of logarithms
  /// number of values; 0: continuous
  std::size_t count = 1;
  /// the axis that this one depends on, and the coordinates there under which it is part of a point
  std::optional<std::size_t> condition;
  std::vector<double> under;

  /// The ends between which a discrete axis is cut into cells of the same width: half a step beyond its
  /// values.
  [[nodiscard]] double edge_low() const { return low - step / 2; }
  [[nodiscard]] double edge_high() const { return high + step / 2; }
  /// The nearest value of a discrete axis, within its ends.
  [[nodiscard]] double rounded(double x) const;
  /// The coordinate of a uniform number in [0, 1), by the axis's own measure.
  [[nodiscard]] double from_unit(double u) const;
  /// Its inverse: of a discrete axis the middle of the value's cell.
  [[nodiscard]] double to_unit(double x) const;
};

class Space {
 public:
  explicit Space(std::vector<proto::SweepParameter> parameters);

  [[nodiscard]] std::size_t size() const { return axes_.size(); }
  [[nodiscard]] const Axis& operator[](std::size_t i) const { return axes_[i]; }
  [[nodiscard]] const std::vector<proto::SweepParameter>& parameters() const { return parameters_; }

  /// Whether the condition of the axis is met.
  [[nodiscard]] bool is_active(std::size_t i, const Point& point) const;
  /// The point with NaN where a condition is not met.
  [[nodiscard]] Point masked(Point point) const;

  /// {"lr": 0.1, "optimizer": "sgd"}: by path; absent parameters are left out.
  [[nodiscard]] proto::Json to_json(const Point& point) const;
  /// The inverse. Numbers that a step does not allow, values of no domain, names of no parameter and missing
  /// ones are kInvalidArgument.
  [[nodiscard]] Result<Point> point_of(const proto::Json& values) const;
  /// The coordinate of one value of parameter `i`.
  [[nodiscard]] Result<double> coordinate_of(std::size_t i, const proto::Json& value) const;
  /// Its inverse.
  [[nodiscard]] proto::Json value_of(std::size_t i, double coordinate) const;

  /// Trial `trial`, every parameter by its own measure: the same whatever other trials there are.
  [[nodiscard]] Point random(std::uint64_t seed, std::int64_t trial) const;
  /// The same with the parameters that `values` has; kInvalidArgument as by point_of().
  [[nodiscard]] Result<Point> completed(const proto::Json& values, std::uint64_t seed,
                                        std::int64_t trial) const;

 private:
  /// Coordinates of the values that are there, NaN for the others.
  [[nodiscard]] Result<Point> given(const proto::Json& values) const;
  [[nodiscard]] Point drawn(std::uint64_t seed, std::int64_t trial) const;

  std::vector<proto::SweepParameter> parameters_;
  std::vector<Axis> axes_;
};

/// Every point of a space of values exactly once. The first parameter that has no condition changes slowest.
class Grid {
 public:
  static constexpr std::int64_t kPointsMax = 100'000;
  /// kInvalidArgument: an axis is continuous. kLimit: there are more than kPointsMax points.
  [[nodiscard]] static Result<Grid> of(const Space& space);
  [[nodiscard]] std::int64_t size() const { return begins_.back(); }
  /// 0 <= index < size()
  [[nodiscard]] Point point(std::int64_t index) const;

 private:
  explicit Grid(const Space& space) : space_(space) {}
  [[nodiscard]] Point outer_point(std::int64_t index) const;
  Space space_;
  std::vector<std::size_t> outer_, inner_;  ///< axes without and with a condition
  std::vector<std::int64_t> begins_;  ///< index of the first point of each outer point; the last is the end
};

/// Point `index` of a Sobol sequence over the space, shifted (exclusive or of the digits) by the seed.
[[nodiscard]] Point sobol_point(const Space& space, std::uint64_t seed, std::int64_t index);
/// So many parameters at most.
inline constexpr std::size_t kSobolAxesMax = 3667;

}  // namespace rtrain::core
