#include "worker/sdk/grid_ranking.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace rtrain::sdk {
namespace {

/// Less is better. A last value that is no number makes no place: the trial has diverged.
std::optional<double> loss_in(const GridEntry& entry, GridScope scope, bool maximize) {
  std::optional<double> loss;
  for (const double value : entry.values) {
    const double one = maximize ? -value : value;
    if (scope != GridScope::kAll)
      loss = std::isfinite(value) ? std::optional(one) : std::nullopt;
    else if (std::isfinite(value))
      loss = loss ? std::min(*loss, one) : one;
  }
  return loss;
}

}  // namespace

GridScope grid_scope(const std::string& name) {
  if (name == "best") return GridScope::kBest;
  if (name == "last") return GridScope::kLast;
  if (name == "all") return GridScope::kAll;
  throw std::invalid_argument("get_best_result: scope \"" + name + "\", expected best, last or all");
}

bool grid_maximizes(const std::string& mode) {
  if (mode == "max" || mode == "min") return mode == "max";
  throw std::invalid_argument("get_best_result: mode \"" + mode + "\", expected max or min");
}

std::optional<std::size_t> best_entry(std::span<const GridEntry> entries, GridScope scope, bool maximize) {
  std::optional<std::size_t> best;
  std::pair<std::int64_t, double> its{};
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& entry = entries[i];
    const auto loss = entry.counts ? loss_in(entry, scope, maximize) : std::nullopt;
    if (!loss) continue;
    const std::pair standing(scope == GridScope::kBest ? -entry.rung : 0, *loss);
    if (best && standing >= its) continue;
    best = i;
    its = standing;
  }
  return best;
}

}  // namespace rtrain::sdk
