// Whether a job that waits may start: holds, retries, times to begin, other jobs, reservations, turns of an
// array. Told of every job that comes, starts or ends.
#pragma once

#include "daemon/head/head_context.h"
#include "daemon/head/jobs/array_turns.h"
#include "daemon/head/jobs/dependencies.h"
#include "daemon/head/jobs/start_rules.h"
#include "daemon/head/nodes/reservations.h"
#include "daemon/head/turn.h"

namespace rtrain::head {

/// @thread the head's.
class Eligibility {
 public:
  /// All must outlive it.
  Eligibility(HeadContext& context, Turn& turn, const Reservations& reservations);
  Eligibility(const Eligibility&) = delete;
  Eligibility& operator=(const Eligibility&) = delete;

  /// "" when the job may be placed, else why it may not.
  [[nodiscard]] std::string reason(const core::JobState& state) const;
  /// The same of a job that was not submitted.
  [[nodiscard]] std::string reason(const proto::JobSpec& spec, const std::string& user) const;
  [[nodiscard]] const StartRules& rules() const { return rules_; }

  /// The head starts, and the job has its turn.
  void adopt(const core::JobState& state);
  void on_queued(JobId id);
  /// It waits and is held.
  void on_held(JobId id);
  void on_started(JobId id);
  void on_ended(JobId id);
  /// Jobs whose time to begin has come may start.
  void release_begin_times();

 private:
  [[nodiscard]] StartRules make_rules(const Reservations& reservations);
  /// The rules may say something else of these.
  void recheck(const std::vector<JobId>& ids);
  [[nodiscard]] Standing standing(JobId target);
  [[nodiscard]] Standing standing_of_one(JobId id) const;
  void give_up_turn(JobId id);
  /// The job has come so far: those that wait for it are rechecked.
  void note_standing(JobId id, const Standing& news);
  /// @return those for which it changes something.
  [[nodiscard]] std::vector<JobId> tell_dependents(JobId id, const Standing& news);

  HeadContext& context_;
  Turn& turn_;
  /// jobs that wait for a time of the wall clock: scheduling.begin_at
  std::set<std::pair<proto::UnixMs, JobId>> begins_;
  Dependencies dependencies_;
  std::map<JobId, Standing> array_standings_;  ///< by array: of those that somebody waits for
  ArrayTurns turns_;
  StartRules rules_;
};

}  // namespace rtrain::head
