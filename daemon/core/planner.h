// Who starts, where, and who makes room: a value that is told of what changes and answers plan(now). Pure: no
// clock, no I/O, no randomness; the same changes give the same answers, in whatever order nodes and jobs were
// told.
//
// A pass goes through the jobs that wait in their order. One that fits starts; the first kClaimsMax that do
// not fit keep the place that they will have (claims.h), and jobs behind them start only where that delays
// nobody. What cannot start for a reason of its own (a quota, a reservation that has not begun, more than the
// nodes could ever hold) blocks nobody.
#pragma once

#include "daemon/core/running.h"

namespace rtrain::core {

inline constexpr int kClaimsMax = 10;     ///< jobs that keep a place, a pass
inline constexpr int kForeseenMax = 100;  ///< jobs whose start is foreseen when somebody asks

/// A job that starts.
struct Start {
  JobId id;
  Placement placement;
};

/// A job that is asked for its place.
struct YieldOrder {
  JobId id;
  proto::YieldCause cause = proto::YieldCause::kPreempted;  ///< kPreempted or kResize
  std::string reason;  ///< "job 9 of higher priority (10) needs its place"
  double grace_s = 0;  ///< the job's preempt_grace_s
};

struct Plan {
  std::vector<Start> starts;  ///< in order
  std::vector<YieldOrder> yields;
  proto::UnixMs look_again_ms = kNever;  ///< time alone changes the answer then
};

/// Why a job waits.
struct Explanation {
  std::string reason;  ///< "" when it starts with the next pass, or does not wait
  int position = 0;    ///< 1-based among those that wait; 0: it is not queued
  /// at the latest, if what runs keeps to its limits; 0: nobody can say
  proto::UnixMs expected_start_ms = 0;
  bool feasible = true;  ///< false: the nodes could not hold it if they were idle
  JobId behind{};        ///< the job that the reason is; 0: it is another one
};
/// "waits behind job 12_4"
[[nodiscard]] std::string waits_behind(const std::string& name);

/// All that a planner knows; what its parts work on.
struct PlannerState {
  RequestBook book;
  NodeIndex nodes;
  std::vector<Fit> fits;  ///< by need
  QueueOrder order;
  Accounts accounts;
  RunningJobs running;
  proto::Queues queues;
  FairShare fair_share;
  std::vector<Reservation> reservations;
  struct Seat {
    std::vector<std::string> last_nodes;
    bool preemptible = true;
    proto::UnixMs grace_ms = 0, resize_interval_ms = 0;
  };
  std::unordered_map<JobId, Seat> seats;                       ///< of those that wait
  std::vector<std::pair<std::uint64_t, bool>> known_feasible;  ///< by ask; good for that Fit::idle_version()

  /// The nodes for a need, as of now.
  const Fit& fit(int need);
  void hold(JobId id, Running running);  ///< and its place in the nodes
  void let_go(JobId id);
};

class Planner {
 public:
  // ---- what changes
  void set_queues(proto::Queues queues) { touch().queues = std::move(queues); }
  void set_fair_share(FairShare fair_share) { touch().fair_share = std::move(fair_share); }
  void set_reservations(std::vector<Reservation> reservations);
  /// A node that is new, or all of its new state: what is held there as well, by running jobs that are known
  /// or will be adopted.
  void node(const NodeView& view);
  /// A job may start, or may start again; called again when its requests change.
  void wait(const WaitingJob& job);
  /// It does not wait any more, or may not start for now.
  void leave(JobId id);
  /// It got its place. It does not wait any more.
  void start(const RunningJob& job);
  /// The same of a job whose place is in the views of the nodes already.
  void adopt(const RunningJob& job);
  /// It gives its place back by then at the latest; `resizing`: to come back with another number of workers.
  void stopping(JobId id, proto::UnixMs by_ms, bool resizing);
  /// Its place is free.
  void end(JobId id);

  // ---- what follows
  /// What to do now. Nothing of it has happened: who carries it out tells of it by start() and stopping().
  [[nodiscard]] Plan plan(proto::UnixMs now);
  /// Worked out when asked; the first question after a change costs about what a pass costs, the next ones
  /// little.
  [[nodiscard]] Explanation explain(JobId id, proto::UnixMs now);
  /// What would happen to a job that is not told of: its placement, or why it waits.
  struct Answer {
    Placement placement;
    Explanation explanation;
  };
  [[nodiscard]] Answer ask(const WaitingJob& job, proto::UnixMs now);
  /// Those that wait, in the order in which they are looked at, as far as `at_most`.
  [[nodiscard]] std::vector<JobId> order(std::size_t at_most = std::numeric_limits<std::size_t>::max()) const;

  [[nodiscard]] bool waits(JobId id) const { return state_.order.contains(id); }
  [[nodiscard]] bool is_stopping(JobId id) const { return state_.running.stopping().contains(id); }
  [[nodiscard]] std::size_t waiting() const { return state_.order.size(); }
  [[nodiscard]] const FairShare& fair_share() const { return state_.fair_share; }
  [[nodiscard]] const proto::Queues& queues() const { return state_.queues; }
  [[nodiscard]] const Accounts& accounts() const { return state_.accounts; }
  [[nodiscard]] const proto::Resources& totals() const { return state_.nodes.totals(); }

 private:
  struct Foresight {
    std::uint64_t version = 0;
    proto::UnixMs now = 0;
    std::unordered_map<JobId, int> positions;
    std::unordered_map<JobId, proto::UnixMs> starts;  ///< of the first that do not fit
    std::set<JobId> starting;
    JobId first_blocked;  ///< 0: none
  };
  PlannerState& touch() {
    ++version_;
    return state_;
  }
  void foresee(proto::UnixMs now);
  [[nodiscard]] Running running_of(const RunningJob& job);

  PlannerState state_;
  std::uint64_t version_ = 1;
  Foresight foresight_;
};

}  // namespace rtrain::core
