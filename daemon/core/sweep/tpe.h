// Tree-structured Parzen estimators, with the rules and defaults of Optuna 5.0: multivariate, a running trial
// counts as a bad one ("constant liar"). Pure.
#pragma once

#include "daemon/core/sweep/observation.h"

#include <span>
#include <vector>

namespace rtrain::core {

/// The good trials (`below`) and the others, each in the order of their numbers.
struct TpeSplit {
  std::vector<const Observation*> below, above;
};
/// See split_for_tpe().
inline constexpr std::size_t kTpeAboveMax = 2000;

/// Below are min(ceil(0.1 n), 25) of the n trials that have ended: complete ones by their loss, then pruned
/// ones by (how far they came, loss), then those that violate constraints, by how much. Running ones are
/// above. Of those above the newest kTpeAboveMax count: the older ones weigh least, and each takes its time
/// at each suggestion.
[[nodiscard]] TpeSplit split_for_tpe(std::span<const Observation> history);

/// The point of trial `trial`. Before options.startup trials have ended, Sobol point `trial`. Parameters
/// without a condition are modelled together over the trials, a conditional one by itself over the trials
/// that have it. `history` is in the order of the trials and does not hold `trial`.
[[nodiscard]] Point suggest_tpe(const Space& space, const proto::SearchConfig& options, std::uint64_t seed,
                                std::int64_t trial, std::span<const Observation> history);

}  // namespace rtrain::core
