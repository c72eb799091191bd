// The schedule of a sweep: when trials are compared, and what becomes of them then. Pure.
#pragma once

#include "daemon/core/sweep/hyperband.h"
#include "daemon/core/sweep/median.h"
#include "daemon/core/sweep/pbt.h"

#include <variant>

namespace rtrain::core {

/// One of the rules behind the same questions. A value.
class Schedule {
 public:
  Schedule(const proto::ScheduleConfig& config, std::uint64_t seed);

  /// False: trials are never compared.
  [[nodiscard]] bool has_rungs() const { return !std::holds_alternative<std::monostate>(rule_); }
  /// The rung that a report at `resource` comes to, of a trial whose last rung was `last` (-1: none).
  [[nodiscard]] std::optional<int> rung_at(std::int64_t trial, int last, double resource) const;
  /// The resource of a rung of the trial; nothing: the trial has no such rung.
  [[nodiscard]] std::optional<double> resource_of(std::int64_t trial, int rung) const;
  /// `rung`: one that the trial has.
  void enter(std::int64_t trial, int rung, double loss, bool checkpoint);
  /// What becomes of the trial that has just entered the rung. `draw`: so many rungs it came to, which
  /// numbers what is drawn for the decision.
  [[nodiscard]] TrialDecision decide(std::int64_t trial, int rung, int draw) const;
  [[nodiscard]] std::optional<Promotion> promotable() const;
  /// When nothing else is left to run: a paused trial that goes on so that some trial comes to the last rung.
  [[nodiscard]] std::optional<Promotion> last_promotion() const;
  void promote(std::int64_t trial, int rung);
  /// The trial completed, or has all that the schedule gives.
  void complete(std::int64_t trial);
  /// It was stopped, or a user ended it: it keeps its ranks.
  void end(std::int64_t trial);
  /// Its job failed for good after rung `last`: it is the worst of its next rung.
  void fail(std::int64_t trial, int last);
  /// It does not count.
  void withdraw(std::int64_t trial);
  /// It goes on from the checkpoint of another one, and has none of its own until it comes to a rung.
  void cloned(std::int64_t trial);

 private:
  proto::ScheduleConfig config_;
  std::variant<std::monostate, Hyperband, Median, Pbt> rule_;
};

}  // namespace rtrain::core
