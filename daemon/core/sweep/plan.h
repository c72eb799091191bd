// What a sweep would cost, before it costs anything: its own fold on virtual time, against an assumed
// learning curve. Pure.
#pragma once

#include "daemon/core/sweep/learning_curve.h"
#include "daemon/core/sweep/sweep.h"

namespace rtrain::core {

/// What nobody knows before the first trial.
struct PlanAssumptions {
  std::int64_t places = 1;    ///< trials that the cluster runs at once; >= 1
  double resource_s = 60;     ///< seconds that a trial takes for one unit of the resource; > 0
  double start_s = 10;        ///< from the start of a job to its first step, also of one that goes on; >= 0
  double trial_resource = 0;  ///< at which a trial's job ends by itself; 0: at the schedule's last rung
  double gpus = 0;            ///< of a trial
  /// Of trials of the past. Each trial of the plan has one of them, in an order that the sweep's seed gives;
  /// a curve that ended early goes on with its last loss. Empty: assumed_loss().
  std::vector<LearningCurve> curves;
};

/// The assumed curve: trial k has a quality q of its own, uniform in [0, 1), and at resource r the loss
/// q + (1 - q) / sqrt(1 + 9 r / R) + noise of 0.02, where R is the resource of a whole trial. So trials cross
/// while they learn, and the order at a tenth of a trial says something of the order at its end, not all.
[[nodiscard]] double assumed_loss(std::uint64_t seed, std::int64_t trial, double resource, double whole);

struct SweepPlan {
  std::int64_t trials = 0, completed = 0, pruned = 0, promotions = 0, clones = 0;
  double hours = 0, gpu_hours = 0;
  double resource = 0;        ///< over all trials
  double resource_whole = 0;  ///< when every trial ran to its end
  std::int64_t running_most = 0;
  std::vector<std::int64_t> at_rung;  ///< trials that came to each rung
  SweepPhase phase = SweepPhase::kRunning;
  std::string reason;  ///< why the sweep ended
};

/// kInvalidArgument: an assumption is out of its range, or nothing says when a trial ends.
[[nodiscard]] Result<SweepPlan> plan_sweep(const proto::SweepSpec& spec, const PlanAssumptions& assumptions);

}  // namespace rtrain::core
