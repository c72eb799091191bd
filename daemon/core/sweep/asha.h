// Asynchronous successive halving (Li et al., "A system for massively parallel hyperparameter tuning", 2020).
// Pure.
//
// A trial is compared at rungs, which are amounts of its resource. Promote is the paper's algorithm: a trial
// pauses at each rung, and the best of the highest rung that has one among its best 1/eta goes on first. Stop
// is the rule of Optuna and Determined: a trial goes on at once when it is among the best 1/eta so far, and
// one at least goes on.
#pragma once

#include "daemon/core/sweep/decision.h"
#include "proto/sweep/sweep_spec.h"

#include <cmath>
#include <optional>
#include <vector>

namespace rtrain::core {

/// min, min * eta, min * eta^2, ..., max.
[[nodiscard]] std::vector<double> rungs_between(double min, double max, double eta);

class Asha {
 public:
  /// `rungs` ascend.
  Asha(std::vector<double> rungs, double eta, proto::AshaMode mode)
      : rungs_(std::move(rungs)), eta_(eta), mode_(mode), entries_(rungs_.size()) {}

  [[nodiscard]] const std::vector<double>& rungs() const { return rungs_; }
  /// So many trials have come to the rung.
  [[nodiscard]] std::size_t count(int rung) const { return entries_[static_cast<std::size_t>(rung)].size(); }
  /// So many of the best of the rung may go on: floor(count / eta).
  [[nodiscard]] std::size_t go_on(int rung) const;

  /// The trial has come to the rung with this loss. Once a trial and rung.
  void enter(std::int64_t trial, int rung, double loss);
  /// What becomes of the trial that has just entered the rung.
  [[nodiscard]] TrialDecision decide(std::int64_t trial, int rung) const;
  /// Promote: the paused trial that goes on next, if one may.
  [[nodiscard]] std::optional<Promotion> promotable() const;
  void promote(std::int64_t trial, int rung);
  /// It ended while it was paused: it keeps its rank and is not promoted.
  void end(std::int64_t trial);
  /// It does not count: it leaves its rungs.
  void withdraw(std::int64_t trial);
  /// The best paused trial of the highest rung that has one, whether or not enough others are worse.
  [[nodiscard]] std::optional<Promotion> best_waiting() const;
  /// Some trial has come to the last rung with a value. One that failed on its way there has an entry too.
  [[nodiscard]] bool has_finisher() const {
    return !entries_.back().empty() && std::isfinite(entries_.back().front().loss);
  }

 private:
  enum class Place { kWaits, kPromoted, kEnded };
  struct Entry {
    double loss;
    std::int64_t trial;
    Place place;
  };
  [[nodiscard]] std::string rung_text(int rung) const;

  std::vector<double> rungs_;
  double eta_;
  proto::AshaMode mode_;
  std::vector<std::vector<Entry>> entries_;  ///< by rung, best first; of equals the older trial
};

}  // namespace rtrain::core
