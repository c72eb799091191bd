#include "proto/sweep/domain.h"

#include <algorithm>
#include <cmath>

namespace rtrain::proto {
namespace {

/// 0.1 * 3 is not 0.3: what is off by rounding is meant.
constexpr double kRounding = 1e-9;

std::string values_text(const std::vector<Json>& values) {
  std::string text;
  constexpr std::size_t kShown = 8;
  for (std::size_t i = 0; i < values.size() && i < kShown; ++i)
    text += (text.empty() ? "" : ", ") + dump_json(values[i]);
  return values.size() > kShown ? text + ", ..." : text;
}

}  // namespace

double Lattice::nearest_to(double x) const {
  return std::clamp(low + std::nearbyint((x - low) / step) * step, low, high);
}

bool has_lattice(const Domain& domain) {
  return domain.kind == DomainKind::kInt || (domain.kind == DomainKind::kFloat && domain.step > 0);
}

Lattice lattice_of(const Domain& domain) {
  Lattice lattice;
  lattice.low = domain.low;
  lattice.step = domain.kind == DomainKind::kInt ? std::max(1.0, domain.step) : domain.step;
  const double steps = std::floor((domain.high - domain.low) / lattice.step + kRounding);
  lattice.high = std::min(domain.high, domain.low + steps * lattice.step);
  lattice.count = static_cast<std::size_t>(steps) + 1;
  return lattice;
}

Result<double> coordinate_of(const Domain& domain, const Json& value) {
  const bool number = domain.kind == DomainKind::kFloat || domain.kind == DomainKind::kInt ||
                      domain.kind == DomainKind::kNormal;
  if (!number) {
    const auto found = std::ranges::find(domain.values, value);
    if (found == domain.values.end())
      return fail(Errc::kInvalidArgument, dump_json(value) + " is not one of " + values_text(domain.values));
    return static_cast<double>(found - domain.values.begin());
  }
  if (!value.is_number()) return fail(Errc::kInvalidArgument, "expected a number, found " + dump_json(value));
  const double x = value.get<double>();
  if (domain.kind == DomainKind::kNormal) return x;
  if (!(x >= domain.low && x <= domain.high))
    return fail(Errc::kInvalidArgument, number_text(x) + " is not in [" + number_text(domain.low) + ", " +
                                            number_text(domain.high) + "]");
  if (!has_lattice(domain)) return x;
  const auto lattice = lattice_of(domain);
  const double nearest = lattice.nearest_to(x);
  if (std::abs(nearest - x) <= kRounding * std::max(1.0, std::abs(x))) return nearest;
  if (domain.kind == DomainKind::kInt && lattice.step == 1)
    return fail(Errc::kInvalidArgument, number_text(x) + " is no whole number");
  return fail(Errc::kInvalidArgument, number_text(x) + " is no multiple of " + number_text(lattice.step) +
                                          " from " + number_text(lattice.low));
}

}  // namespace rtrain::proto
