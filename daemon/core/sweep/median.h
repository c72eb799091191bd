// Median stopping (Golovin et al., "Google Vizier", 2017) by the rule of Optuna's MedianPruner: a trial ends
// when its best value so far is worse than the median of the completed trials' values at the same rung. Pure.
#pragma once

#include "daemon/core/sweep/decision.h"
#include "proto/sweep/sweep_spec.h"

#include <map>
#include <vector>

namespace rtrain::core {

class Median {
 public:
  explicit Median(const proto::ScheduleConfig& config) : startup_trials_(config.startup_trials) {}
  void enter(std::int64_t trial, int rung, double loss) { running_[trial][rung] = loss; }
  [[nodiscard]] TrialDecision decide(std::int64_t trial, int rung) const;
  /// The trial completed: others are compared with it.
  void complete(std::int64_t trial);
  /// It ended in another way, or does not count.
  void withdraw(std::int64_t trial) { running_.erase(trial); }

 private:
  int startup_trials_;
  int completed_ = 0;
  std::map<std::int64_t, std::map<int, double>> running_;
  std::map<int, std::vector<double>> losses_;  ///< of completed trials, by rung, sorted
};

}  // namespace rtrain::core
