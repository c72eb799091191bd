#include "daemon/core/sweep/space.h"

#include "daemon/core/sweep/normal.h"
#include "proto/sweep/domain.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rtrain::core {

using proto::Domain;
using proto::DomainKind;
using proto::Json;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Axis axis_of(const Domain& domain) {
  Axis axis;
  switch (domain.kind) {
    case DomainKind::kFloat:
    case DomainKind::kInt: {
      axis.log = domain.log;
      axis.low = domain.low;
      axis.high = domain.high;
      axis.kind = AxisKind::kContinuous;
      axis.count = 0;
      if (!proto::has_lattice(domain)) break;
      const auto lattice = proto::lattice_of(domain);
      axis.kind = AxisKind::kDiscrete;
      axis.high = lattice.high;
      axis.step = lattice.step;
      axis.count = lattice.count;
      break;
    }
    case DomainKind::kNormal:
      axis.kind = AxisKind::kContinuous;
      axis.high = 1;
      axis.count = 0;
      break;
    case DomainKind::kOrdinal:
    case DomainKind::kChoice:
    case DomainKind::kGrid:
      axis.kind = domain.values.size() == 1             ? AxisKind::kFixed
                  : domain.kind == DomainKind::kOrdinal ? AxisKind::kDiscrete
                                                        : AxisKind::kCategory;
      axis.step = 1;
      axis.high = static_cast<double>(domain.values.size()) - 1;
      axis.count = domain.values.size();
      break;
    case DomainKind::kConstant: break;
  }
  return axis;
}

}  // namespace

double Axis::rounded(double x) const { return proto::Lattice{low, high, step, count}.nearest_to(x); }

double Axis::from_unit(double u) const {
  switch (kind) {
    case AxisKind::kFixed: return low;
    case AxisKind::kContinuous:
      if (log) return std::clamp(std::exp(std::log(low) + u * (std::log(high) - std::log(low))), low, high);
      return std::clamp(low + u * (high - low), low, high);
    case AxisKind::kDiscrete:
      if (log) {
        const double a = std::log(edge_low()), b = std::log(edge_high());
        return rounded(std::exp(a + u * (b - a)));
      }
      [[fallthrough]];
    case AxisKind::kCategory: {
      const double k = std::min(std::floor(u * static_cast<double>(count)), static_cast<double>(count) - 1);
      return std::min(low + k * step, high);
    }
  }
  return low;
}

double Axis::to_unit(double x) const {
  switch (kind) {
    case AxisKind::kFixed: return 0.5;
    case AxisKind::kContinuous:
      if (log) return (std::log(x) - std::log(low)) / (std::log(high) - std::log(low));
      return (x - low) / (high - low);
    case AxisKind::kDiscrete:
      if (log) {
        const double a = std::log(edge_low()), b = std::log(edge_high());
        return (std::log(x) - a) / (b - a);
      }
      [[fallthrough]];
    case AxisKind::kCategory: return (x - edge_low()) / (edge_high() - edge_low());
  }
  return 0.5;
}

Space::Space(std::vector<proto::SweepParameter> parameters) : parameters_(std::move(parameters)) {
  for (const auto& parameter : parameters_) axes_.push_back(axis_of(parameter.domain));
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& when = parameters_[i].when;
    if (!when) continue;
    for (std::size_t other = 0; other < parameters_.size(); ++other)
      if (parameters_[other].path == when->parameter) axes_[i].condition = other;
    for (const auto& value : when->values)
      if (const auto at = coordinate_of(*axes_[i].condition, value)) axes_[i].under.push_back(*at);
  }
}

bool Space::is_active(std::size_t i, const Point& point) const {
  const auto& axis = axes_[i];
  return !axis.condition || std::ranges::find(axis.under, point[*axis.condition]) != axis.under.end();
}

Point Space::masked(Point point) const {
  for (std::size_t i = 0; i < size(); ++i)
    if (!is_active(i, point)) point[i] = kNan;
  return point;
}

Json Space::value_of(std::size_t i, double x) const {
  const auto& domain = parameters_[i].domain;
  switch (domain.kind) {
    case DomainKind::kFloat: return x;
    case DomainKind::kInt: return static_cast<std::int64_t>(x);
    case DomainKind::kNormal: return domain.mean + domain.sd * normal_quantile(x);
    default: return domain.values[static_cast<std::size_t>(x)];
  }
}

Json Space::to_json(const Point& point) const {
  Json values = Json::object();
  for (std::size_t i = 0; i < size(); ++i)
    if (!std::isnan(point[i])) values[parameters_[i].path] = value_of(i, point[i]);
  return values;
}

Result<double> Space::coordinate_of(std::size_t i, const Json& value) const {
  const auto& domain = parameters_[i].domain;
  auto at = proto::coordinate_of(domain, value);
  if (!at || domain.kind != DomainKind::kNormal) return at;
  // The ends have no quantile; a value out there is taken for the last one that has.
  constexpr double kEdge = 0x1p-53;
  return std::clamp(normal_cdf((*at - domain.mean) / domain.sd), kEdge, 1 - kEdge);
}

Result<Point> Space::given(const Json& values) const {
  if (!values.is_object()) return fail(Errc::kInvalidArgument, "expected an object of parameters");
  Point point(size(), kNan);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < size(); ++i) {
    names.push_back(parameters_[i].path);
    const auto found = values.find(names.back());
    if (found == values.end()) continue;
    const auto at = coordinate_of(i, *found);
    if (!at) return at.error().in(names.back());
    point[i] = *at;
  }
  for (const auto& [name, ignored] : values.items())
    if (std::ranges::find(names, name) == names.end()) {
      const auto near = proto::nearest(name, names);
      return fail(Errc::kInvalidArgument, name + ": no parameter of the sweep" +
                                              (near.empty() ? "" : "; did you mean " + near + "?"));
    }
  return point;
}

Result<Point> Space::point_of(const Json& values) const {
  auto point = given(values);
  if (!point) return point;
  for (std::size_t i = 0; i < size(); ++i) {
    const bool active = is_active(i, *point), there = !std::isnan((*point)[i]);
    const auto& path = parameters_[i].path;
    if (active && !there) {
      if (axes_[i].kind != AxisKind::kFixed) return fail(Errc::kInvalidArgument, path + ": missing");
      (*point)[i] = axes_[i].low;
    }
    if (!active && there)
      return fail(Errc::kInvalidArgument,
                  path + ": is part of a trial only with another " + parameters_[i].when->parameter);
  }
  return point;
}

Point Space::drawn(std::uint64_t seed, std::int64_t trial) const {
  Point point(size());
  for (std::size_t i = 0; i < size(); ++i) {
    Draws draws(seed, trial, i, Purpose::kPoint);
    // A normal parameter is its own quantile, and has none at 0.
    point[i] = axes_[i].from_unit(axes_[i].kind == AxisKind::kContinuous ? draws.inner() : draws.uniform());
  }
  return point;
}

Point Space::random(std::uint64_t seed, std::int64_t trial) const { return masked(drawn(seed, trial)); }

Result<Point> Space::completed(const Json& values, std::uint64_t seed, std::int64_t trial) const {
  auto fixed = given(values);
  if (!fixed) return fixed;
  // A parameter brings its condition along. Were that drawn, the same values would be taken once and refused
  // another time.
  for (std::size_t i = 0; i < size(); ++i) {
    const auto& axis = axes_[i];
    if (!std::isnan((*fixed)[i]) && axis.condition && std::isnan((*fixed)[*axis.condition]) &&
        !axis.under.empty())
      (*fixed)[*axis.condition] = axis.under.front();
  }
  Point point = drawn(seed, trial);
  for (std::size_t i = 0; i < size(); ++i)
    if (!std::isnan((*fixed)[i])) point[i] = (*fixed)[i];
  for (std::size_t i = 0; i < size(); ++i)
    if (!std::isnan((*fixed)[i]) && !is_active(i, point))
      return fail(Errc::kInvalidArgument, parameters_[i].path + ": needs " + parameters_[i].when->parameter +
                                              " beside it, with a value under which it is part of a trial");
  return masked(std::move(point));
}

}  // namespace rtrain::core
