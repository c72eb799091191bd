// A sweep when nothing goes wrong: its trials train one after the other and report what they report in the
// simulation too. Whatever failed there, the same must have been decided.
#pragma once

#include "daemon/core/sweep/sweep.h"
#include "tests/sim/plan.h"

#include <functional>
#include <string>
#include <vector>

namespace rtrain::sim {

using TrialPlans = std::function<const JobPlan&(std::int64_t trial)>;

/// Its events from the first to the last. With limits.running = 1 they are those of any run; with more at
/// once the order is another one, and for searchers that look at no results each trial's own are the same.
[[nodiscard]] std::vector<proto::SweepEvent> undisturbed(const proto::SweepSubmitted& submitted,
                                                         const TrialPlans& plans);

struct Comparison {
  std::int64_t decisions = 0;  ///< that could be compared, and were equal
  std::string difference;      ///< the first one; "" none
};
/// Suggestions, rungs and their values, decisions with their reasons, and ends, bit for bit. With
/// limits.running = 1 in their order, as far as nothing but the results decided: to where a job failed or a
/// user, or the clock, ended something. With more at once only of sweeps whose searcher and schedule look at
/// no results, trial by trial.
[[nodiscard]] Comparison compare_with_undisturbed(const std::vector<proto::StampedSweepEvent>& events,
                                                  const TrialPlans& plans);

}  // namespace rtrain::sim
