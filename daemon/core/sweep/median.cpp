#include "daemon/core/sweep/median.h"

#include "proto/json.h"

#include <algorithm>
#include <cmath>

namespace rtrain::core {

TrialDecision Median::decide(std::int64_t trial, int rung) const {
  if (completed_ < startup_trials_)
    return {TrialVerdict::kGoOn, std::to_string(completed_) + " of " + std::to_string(startup_trials_) +
                                     " trials have completed that others are compared with"};
  double best = kWorstLoss;
  if (const auto own = running_.find(trial); own != running_.end())
    for (const auto& [at, loss] : own->second) best = std::min(best, loss);
  if (!std::isfinite(best)) return {TrialVerdict::kPrune, "none of its values is a number"};
  const auto losses = losses_.find(rung);
  if (losses == losses_.end())
    return {TrialVerdict::kGoOn, "no completed trial has a value at this resource"};
  const auto& sorted = losses->second;
  const auto middle = sorted.size() / 2;
  // Of an even number the mean of the two in the middle, where the worse one may be infinite.
  const double median = sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const bool worse = best > median;
  return {worse ? TrialVerdict::kPrune : TrialVerdict::kGoOn,
          std::string("its best value is ") + (worse ? "worse" : "not worse") + " than the median of " +
              std::to_string(sorted.size()) + " completed trials"};
}

void Median::complete(std::int64_t trial) {
  ++completed_;
  const auto own = running_.find(trial);
  if (own == running_.end()) return;
  for (const auto& [rung, loss] : own->second) {
    auto& losses = losses_[rung];
    losses.insert(std::ranges::upper_bound(losses, loss), loss);
  }
  running_.erase(own);
}

}  // namespace rtrain::core
