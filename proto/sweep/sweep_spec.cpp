#include "proto/sweep/sweep_spec.h"

#include <cmath>

namespace rtrain::proto {
namespace {

constexpr std::array<std::string_view, 7> kDomainKinds{"float",  "int",  "choice",  "ordinal",
                                                       "normal", "grid", "constant"};
constexpr std::array<std::string_view, 6> kSearchMethods{"random", "grid",  "sobol",
                                                         "tpe",    "cmaes", "external"};
constexpr std::array<std::string_view, 5> kScheduleKinds{"none", "asha", "hyperband", "median", "pbt"};
constexpr std::array<std::string_view, 2> kAshaModes{"promote", "stop"};
constexpr std::array<std::string_view, 3> kBracketModes{"aggressive", "standard", "conservative"};

template <class Enum, std::size_t n>
std::string_view name_in(const std::array<std::string_view, n>& names, Enum value) {
  return names[static_cast<std::size_t>(value)];
}

}  // namespace

std::string_view to_string(DomainKind kind) { return name_in(kDomainKinds, kind); }
std::string_view to_string(SearchMethod method) { return name_in(kSearchMethods, method); }
std::string_view to_string(ScheduleKind kind) { return name_in(kScheduleKinds, kind); }
std::string_view to_string(AshaMode mode) { return name_in(kAshaModes, mode); }
std::string_view to_string(BracketMode mode) { return name_in(kBracketModes, mode); }

std::string resource_name(const SweepSpec& spec) { return spec.resource.empty() ? "epoch" : spec.resource; }

std::optional<double> reported_number(const Json& metrics, const std::string& name) {
  if (!metrics.is_object()) return std::nullopt;
  const auto found = metrics.find(name);
  double value = 0;
  if (found == metrics.end() || !json_number(*found, value) || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace rtrain::proto
