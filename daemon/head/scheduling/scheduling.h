// The planner of the head: it is told of every change and asked once for many; what it answers is done.
#pragma once

#include "daemon/core/scheduler.h"
#include "daemon/head/jobs/eligibility.h"
#include "daemon/head/scheduling/usage.h"
#include "daemon/head/scheduling/waiting.h"

#include <limits>

namespace rtrain::head {

/// @thread the head's.
class Scheduling {
 public:
  /// All must outlive it.
  Scheduling(HeadContext& context, Turn& turn, const Eligibility& eligibility);
  Scheduling(const Scheduling&) = delete;
  Scheduling& operator=(const Scheduling&) = delete;

  /// The head starts: what the journal knows of shares. Nothing is placed before open().
  void recover(const std::vector<store::Document>& documents);
  /// The head is through with its start: the first pass is due.
  void open();

  /// Passes over the queue are not made at once but when pass() is called, which `due` asks for: one for many
  /// changes. Not called: a pass follows the turn that asked for it.
  void defer_passes(std::function<void()> due) { defer_pass_ = std::move(due); }
  /// Something changed that a pass must look at.
  void request_pass();
  /// Starts what can start and asks for the places that others need, if anything changed since the last time.
  void pass();
  void on_turn_end();
  /// What is due by time alone: accounts of usage, reservations that begin, jobs that may be resized.
  void tick();

  void on_allocated(JobId id);
  void on_released(JobId id);
  /// Tells the planner where the job stands now.
  void sync(JobId id);
  void set_reservations(std::vector<core::Reservation> reservations) {
    planner_.set_reservations(std::move(reservations));
  }

  /// Worked out when asked. Empty for a job that does not wait.
  [[nodiscard]] Waiting waiting(JobId id) const;
  /// What would happen to this job if it were submitted now.
  [[nodiscard]] core::Decision plan(const proto::JobSpec& spec) const;
  [[nodiscard]] core::Decision plan(const proto::ScalingConfig& scaling) const;
  /// Those that wait, in the order in which they are looked at, as far as `at_most`.
  [[nodiscard]] std::vector<JobId> queue(std::size_t at_most = std::numeric_limits<std::size_t>::max()) const;
  [[nodiscard]] const core::Planner& planner() const { return planner_; }

 private:
  /// Nothing is placed while the head recovers, and no pass is made within a pass.
  enum class Passes { kNotYet, kIdle, kRunning };
  [[nodiscard]] std::string reason_of(const core::Explanation& explanation) const;
  [[nodiscard]] core::RunningJob running_of(const core::JobState& state) const;
  void ask_to_yield(const core::YieldOrder& order);

  HeadContext& context_;
  Turn& turn_;
  const Eligibility& eligibility_;
  mutable core::Planner planner_;  ///< questions of users change nothing that it answers
  Usage usage_;
  std::function<void()> defer_pass_;
  SteadyTime accounted_;
  proto::UnixMs look_again_ms_ = core::kNever;
  bool has_usage_document_ = false;
  Passes passes_ = Passes::kNotYet;
  bool again_ = false;   ///< something changed since the last pass began
  bool called_ = false;  ///< defer_pass_ was called, and pass() was not yet
};

/// Where the ranks of the current attempt are.
[[nodiscard]] std::vector<proto::RankPlacement> placements_of(const core::JobState& state);

}  // namespace rtrain::head
