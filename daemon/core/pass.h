// One look at the whole queue. What it starts is held in the state while it lives, and let go of at its end.
// Pure.
#pragma once

#include "daemon/core/planner.h"
#include "daemon/core/what_if.h"

namespace rtrain::core {

/// Why a line of jobs is not looked at, for a reason of its own; "" when it may start.
[[nodiscard]] std::string own_reason(const PlannerState& state, const Line& line, proto::UnixMs now);
/// As many workers as quotas allow.
[[nodiscard]] int within_quotas(const PlannerState& state, int account, const Ask& ask, int workers);
/// False: not even idle nodes would hold it.
[[nodiscard]] bool feasible(PlannerState& state, int ask);

class Pass {
 public:
  Pass(PlannerState& state, proto::UnixMs now, int claims_max);
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;
  ~Pass();
  void run();

  Plan plan;
  std::unordered_map<JobId, proto::UnixMs> foreseen;  ///< of jobs that do not fit: when they will; kNever
  JobId first_blocked;                                ///< 0: none

 private:
  [[nodiscard]] bool start(const Line& line, JobId id);
  void block(const Line& line, JobId id);
  /// Where a job may start now that ends at `end_ms`. Good until rooms_.clear().
  [[nodiscard]] const std::vector<Room>& rooms(int need, proto::UnixMs end_ms, bool suspected);
  /// Where up to `workers` go now; empty when fewer than `least` fit.
  [[nodiscard]] std::vector<Share> find_place(const Ask& ask, int workers, int least);
  void make_room(const Line& line, JobId id);  // preemption.cpp
  void grow();                                 // elastic.cpp
  /// Keeps room for so many workers more of a job that is being resized.
  void hold_aside(const Running& running, int workers);

  PlannerState& state_;
  proto::UnixMs now_;
  int claims_max_;
  Claims claims_;
  std::vector<int> ranks_;
  /// since the last thing that changed them
  std::map<std::tuple<int, proto::UnixMs, bool>, std::vector<Room>> rooms_;
  std::vector<bool> dead_;   ///< by ask: it does not start in this pass any more
  std::vector<JobId> held_;  ///< started in this pass, as far as the state is concerned
  struct Aside {
    NodeId node;
    int need, workers;
    std::vector<int> gpus;
  };
  std::vector<Aside> aside_;  ///< kept for jobs that grow
  /// asked to yield in this pass, with their ends before
  std::vector<std::pair<JobId, proto::UnixMs>> stopped_;
};

}  // namespace rtrain::core
