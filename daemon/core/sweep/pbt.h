// Population based training (Jaderberg et al., 2017) by the rule of Ray's PopulationBasedTraining. Pure.
//
// A member whose last value is in the lower quantile goes on from the checkpoint of one of the upper
// quantile, with that one's parameters changed. Unlike Ray's: only a member with a checkpoint is a donor,
// values stay in their domains, and there is no wall clock.
#pragma once

#include "daemon/core/sweep/decision.h"
#include "daemon/core/sweep/space.h"

#include <map>
#include <vector>

namespace rtrain::core {

class Pbt {
 public:
  Pbt(const proto::ScheduleConfig& config, std::uint64_t seed) : config_(config), seed_(seed) {}
  /// A member's newest value; `checkpoint`: others can go on from where it is.
  void enter(std::int64_t trial, double loss, bool checkpoint) { members_[trial] = {loss, checkpoint}; }
  /// `draw`: numbers the decisions about the member, so that each draws anew.
  [[nodiscard]] TrialDecision decide(std::int64_t trial, int draw) const;
  /// It is no member any more.
  void withdraw(std::int64_t trial) { members_.erase(trial); }
  /// It goes on from another one's checkpoint. It keeps the value that it had, which is what Ray compares
  /// others with, but is no donor until it enters again: its new parameters were not tried.
  void cloned(std::int64_t trial);

 private:
  struct Member {
    double loss;
    bool checkpoint;
  };
  /// Members of the lower and of the upper quantile.
  [[nodiscard]] std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> quantiles() const;

  proto::ScheduleConfig config_;
  std::uint64_t seed_;
  std::map<std::int64_t, Member> members_;
};

/// The parameters that a member which goes on from a donor gets; `draw` as in Pbt::decide(). A parameter is
/// drawn anew with config.resample_probability; else a number is multiplied by one of config.factors, and of
/// values a neighbour is taken. All stay in their domains.
[[nodiscard]] Point perturbed(const Space& space, const proto::ScheduleConfig& config, std::uint64_t seed,
                              std::int64_t trial, int draw, const Point& donor);

}  // namespace rtrain::core
