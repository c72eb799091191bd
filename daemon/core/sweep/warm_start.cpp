#include "daemon/core/sweep/warm_start.h"

#include <cmath>

namespace rtrain::core {
namespace {

std::string mode_of(const proto::SweepSpec& spec) { return spec.maximize ? "most " : "least "; }

/// "" when both measure the same.
std::string difference(const proto::SweepSpec& earlier, const proto::SweepSpec& spec) {
  if (earlier.metric != spec.metric || earlier.maximize != spec.maximize)
    return "it searched for the " + mode_of(earlier) + earlier.metric + ", not the " + mode_of(spec) +
           spec.metric;
  if (const auto its = resource_name(earlier), ours = resource_name(spec); its != ours)
    return "its resource is " + its + ", not " + ours;
  if (earlier.constraints != spec.constraints) return "its constraints are others";
  return "";
}

std::optional<proto::KnownTrial> known_trial(const SweepState& earlier, const TrialState& trial) {
  const bool judged = (trial.rung >= 0 || has_ended(trial.phase)) && !trial.is_unjudged_clone();
  if (!judged || trial.phase == TrialPhase::kFailed || trial.phase == TrialPhase::kInvalid ||
      trial.phase == TrialPhase::kCancelled || !std::isfinite(trial.violation))
    return std::nullopt;
  proto::KnownTrial known;
  known.params = earlier.space->to_json(trial.point);
  known.complete = trial.phase == TrialPhase::kCompleted;
  if (const double value = trial.value(earlier.spec->maximize); std::isfinite(value)) known.value = value;
  known.resource = trial.resource;
  known.violation = trial.violation;
  return known;
}

}  // namespace

Result<std::vector<proto::KnownTrial>> known_trials(const SweepState& earlier, const proto::SweepSpec& spec) {
  const auto refused = [&](const std::string& why) {
    return fail(Errc::kInvalidArgument, "from: sweep " + std::to_string(earlier.id) + ": " + why);
  };
  if (const auto other = difference(*earlier.spec, spec); !other.empty()) return refused(other);
  const Space space(spec.parameters);
  std::vector<proto::KnownTrial> known;
  std::string why = "none of its trials has a value";
  for (const auto& trial : earlier.trials) {
    auto one = known_trial(earlier, trial);
    if (!one) continue;
    if (const auto point = space.point_of(one->params); point)
      known.push_back(std::move(*one));
    else
      why = "no trial of it has the parameters of this sweep: " + point.error().message();
  }
  if (known.empty()) return refused(why);
  return known;
}

std::vector<Observation> observations_of(const std::vector<proto::KnownTrial>& known, const Space& space,
                                         bool maximize) {
  std::vector<Observation> observations;
  auto number = -static_cast<std::int64_t>(known.size());
  for (const auto& trial : known) {
    const auto at = number++;
    auto point = space.point_of(trial.params);
    if (!point) continue;
    double loss = kWorstLoss;
    if (trial.value && std::isfinite(*trial.value)) loss = maximize ? -*trial.value : *trial.value;
    observations.push_back({at, std::move(*point),
                            trial.complete ? ObservedState::kComplete : ObservedState::kPruned, loss,
                            trial.resource, trial.violation});
  }
  return observations;
}

}  // namespace rtrain::core
