// Brackets of successive halving that begin at different rungs (Li et al., "Hyperband", 2018), as
// Determined's adaptive_asha has them. Pure.
#pragma once

#include "daemon/core/sweep/asha.h"

namespace rtrain::core {

/// The brackets of a Hyperband schedule, by number of rungs, the longest first. The longest has
/// min(max_rungs, floor(log_eta(max / min)) + 1); aggressive: that one alone; standard: those with at least
/// half as many; conservative: all down to one rung, which halves nothing.
[[nodiscard]] std::vector<int> bracket_lengths(const proto::ScheduleConfig& config);
/// The rungs of a bracket: max / eta^(length - 1), ..., max / eta, max.
[[nodiscard]] std::vector<double> bracket_rungs(const proto::ScheduleConfig& config, int length);

class Hyperband {
 public:
  explicit Hyperband(const proto::ScheduleConfig& config);
  /// One bracket: ASHA itself.
  explicit Hyperband(Asha asha) : brackets_{std::move(asha)}, shares_{1.0} {}

  [[nodiscard]] const std::vector<Asha>& brackets() const { return brackets_; }
  /// A function of the trial's number: over any run of trials brackets have their shares, eta^(length - 1) /
  /// length.
  [[nodiscard]] std::size_t bracket_of(std::int64_t trial) const;
  [[nodiscard]] Asha& of(std::int64_t trial) { return brackets_[bracket_of(trial)]; }
  [[nodiscard]] const Asha& of(std::int64_t trial) const { return brackets_[bracket_of(trial)]; }
  /// Of the bracket whose promotable trial is at the highest resource.
  [[nodiscard]] std::optional<Promotion> promotable() const;
  /// Of a bracket in which no trial has come to the last rung, the best paused one.
  [[nodiscard]] std::optional<Promotion> best_waiting() const;

 private:
  std::vector<Asha> brackets_;
  std::vector<double> shares_;  ///< cumulated; the last is 1
};

}  // namespace rtrain::core
