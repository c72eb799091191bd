// Knows what is true — which processes run where, what users were told, what is on the disk — and says when
// the head breaks a rule.
#pragma once

#include "proto/config/queues.h"
#include "proto/message/message.h"
#include "tests/sim/disk.h"
#include "tests/sim/plan.h"
#include "tests/sim/scheduling_rules.h"
#include "tests/sim/sweep_rules.h"

#include <map>
#include <set>

namespace rtrain::sim {

struct Violation {
  std::string invariant;  ///< "two attempts at once", ...
  std::string what;
  Time at = 0;
};

/// The life of one rank's process, as it was.
struct Life {
  std::size_t node = 0;
  bool alive = false;
  proto::Resources resources;
  std::vector<int> gpus;
  proto::ExitStatus status;  ///< when it is over
  bool recorded = false;     ///< its node kept how it ended
  std::int64_t reports = 0;  ///< report() calls of it that came back
};

class Referee {
 public:
  Referee(World& world, Disk& disk, const Workload& workload, std::vector<proto::NodeInfo> nodes,
          proto::Queues queues);

  // ---- processes --------------------------------------------------------------------------------
  void started(const proto::RankKey& key, std::size_t node, const proto::Resources& resources,
               const std::vector<int>& gpus);
  void ended(const proto::RankKey& key, const proto::ExitStatus& status, bool recorded);
  void reported(const proto::RankKey& key, std::int64_t seq);
  [[nodiscard]] std::size_t alive() const { return alive_.size(); }
  [[nodiscard]] std::vector<proto::RankKey> alive_on(const std::string& node) const;

  // ---- words of the head ------------------------------------------------------------------------
  void on_sent_to_agent(const proto::Message& message);
  /// The head confirmed this message of an agent.
  void confirmed(const proto::Message& message);
  /// A submit was answered, perhaps once more: of an array the first of its numbers, and how many there are.
  void acknowledged(JobId first, std::int64_t jobs, const std::string& name);
  void sweep_acknowledged(JobId id, const std::string& name);
  void cancel_sent(const std::string& name) { cancels_.insert(name); }
  void cancel_acknowledged(JobId id);
  void hold_acknowledged(JobId id);
  /// A user was shown this state.
  void shown(JobId id, core::JobPhase phase);

  /// What operators and dependencies ask of the scheduler.
  [[nodiscard]] SchedulingRules& rules() { return rules_; }
  [[nodiscard]] const SchedulingRules& rules() const { return rules_; }

  [[nodiscard]] const SweepRules& sweeps() const { return sweeps_; }

  // ---- at rest ----------------------------------------------------------------------------------
  void check(bool rule, const char* invariant, const std::function<std::string()>& what);
  [[nodiscard]] const std::map<JobId, std::string>& acknowledged_jobs() const { return acknowledged_; }
  /// The run is over: what the disk says of every job against what was.
  void check_disk();
  [[nodiscard]] const std::optional<Violation>& violation() const { return violation_; }

 private:
  void acknowledged(JobId id, const std::string& name);
  struct Stored {
    std::int64_t attempt = 0, seq = 0;  ///< of the last point
  };
  void stored(JobId id, const proto::StampedEvent& event);
  void stored(JobId id, const proto::MetricPoint& point);
  void points_cut(JobId id);
  void stored_placement(JobId id, const proto::AttemptPlaced& placed);
  void stored_end(JobId id, const proto::RankFinished& end);
  void stored_failure(JobId id, const proto::AttemptFailed& failure);
  void stored_attempt_end(JobId id, Attempt attempt);
  void check_validations(JobId id, const core::JobState& state);
  [[nodiscard]] bool may_fail(JobId id, const core::JobState& state) const;
  [[nodiscard]] const Life* life(const proto::RankKey& key) const;

  World& world_;
  Disk& disk_;
  const Workload& workload_;
  std::vector<proto::NodeInfo> nodes_;
  proto::Queues queues_;
  std::map<proto::RankKey, Life> lives_;
  std::set<proto::RankKey> alive_;
  std::vector<proto::Resources> used_;
  std::map<std::pair<std::size_t, int>, proto::RankKey> gpus_;
  std::map<JobId, std::string> acknowledged_;
  std::map<JobId, std::string> acknowledged_sweeps_;
  std::map<std::string, JobId> sweep_numbers_;  ///< of each name the first that was acknowledged
  std::map<std::string, JobId> numbers_;        ///< of each name the first that was acknowledged
  std::set<std::string> acknowledged_names_, cancels_;
  std::map<JobId, core::JobPhase> shown_end_;
  std::map<JobId, Stored> stored_;
  std::map<JobId, int> failures_;  ///< that count, as they were stored
  std::map<std::pair<JobId, Attempt>, std::map<int, proto::RankFinished>> stored_ends_;
  std::map<std::pair<JobId, std::int64_t>, JobId> validated_by_;  ///< by job and index of the checkpoint
  std::optional<Violation> violation_;
  SchedulingRules rules_;
  SweepRules sweeps_;
};

}  // namespace rtrain::sim
