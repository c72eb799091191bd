// The life of a job: a pure fold over its events.
//
//            AttemptPlaced        all RankEntered
//   QUEUED ----------------> STARTING ----------> RUNNING
//     ^  |                     |   |                |  |
//     |  | CancelRequested     |   | AttemptFailed, |  | all RankFinished with success
//     |  v                     |   | CancelRequested|  v
//     | CANCELLED              |   | YieldRequested |  (AttemptEnded) --> SUCCEEDED
//     |                        |   v TimeLimit...   |
//     |                        +> STOPPING <--------+
//     |                                |
//     +- AttemptEnded, retry or yield -+---- AttemptEnded --> FAILED | CANCELLED | SUCCEEDED (all ranks were through before they yielded)
//
// Instead of SUCCEEDED a job is VALIDATING as long as a validation of one of its checkpoints is pending:
//
//   AttemptEnded --> VALIDATING -- the last ValidationEnded --> SUCCEEDED
//                        |-- CancelRequested --> CANCELLED
//
// A held job keeps its phase; QUEUED and held is not placed. A user holds a job, and so does its sweep, each
// for itself. An attempt that yields because its trial is paused is held by the same event, so that nothing
// can start it in between; one that yields because its trial is pruned ends as CANCELLED, and one whose trial
// is finished as SUCCEEDED.
//
// No clock, no I/O, no randomness: the same function runs live and in replay.
#pragma once

#include "daemon/core/failure.h"

#include <map>
#include <span>
#include <vector>

namespace rtrain::core {

enum class JobPhase { kQueued, kStarting, kRunning, kStopping, kValidating, kSucceeded, kFailed, kCancelled };
/// "QUEUED", "STARTING", ... as users see it.
[[nodiscard]] std::string_view to_string(JobPhase phase);
[[nodiscard]] bool is_terminal(JobPhase phase);
/// STARTING, RUNNING or STOPPING: ranks hold resources.
[[nodiscard]] bool has_attempt(JobPhase phase);
/// STARTING or RUNNING: its ranks are to go on.
[[nodiscard]] bool is_live(JobPhase phase);
/// Nothing: no phase is called so.
[[nodiscard]] std::optional<JobPhase> phase_from_string(std::string_view name);

enum class RankPhase { kPlaced, kForked, kRunning, kEnded };
[[nodiscard]] std::string_view to_string(RankPhase phase);

struct RankState {
  proto::RankPlacement placement;
  RankPhase phase = RankPhase::kPlaced;
  std::int64_t pid = 0;
  proto::ExitStatus status;  ///< meaningful when phase is kEnded
  bool started = false;      ///< somebody saw its process, or what it said
  bool yielded = false;      ///< ended because it was asked to, with more to do
};

/// What an attempt that is asked for its place was told.
struct Yield {
  proto::YieldCause cause = proto::YieldCause::kPreempted;
  std::string reason;
  double grace_s = 0;
  bool retry = true;
  bool checkpoint = true;
};

/// How far back the nodes of an attempt are remembered: a job that restarts for ever must not grow for ever.
inline constexpr std::size_t kAttemptsKept = 100;

/// All that is known of a job. Copyable; a value.
struct JobState {
  JobId id;
  proto::SharedSpec spec;  ///< of an array: one for all its jobs
  std::string run_name, run_dir;
  std::string user;                       ///< who submitted it; "" unknown
  std::optional<proto::ArrayTask> array;  ///< its place in an array
  std::string submission;  ///< the key of the request that submitted it, so that the same request makes no
                           ///< second job; "" none
  JobPhase phase = JobPhase::kQueued;
  /// 0: not yet. started: first RankEntered of the first attempt
  proto::UnixMs submitted_ms = 0, started_ms = 0, ended_ms = 0;
  proto::UnixMs placed_ms = 0;      ///< when the current attempt was placed
  proto::UnixMs updated_ms = 0;     ///< of the last event
  proto::UnixMs not_before_ms = 0;  ///< QUEUED: the next attempt waits until then; 0: it does not
  bool held = false;                ///< not placed until it is released
  std::string held_by;
  bool paused = false;           ///< nor until its sweep lets it: its trial is paused, or the sweep is
  Attempt attempt{0};            ///< the current or last one; 0: none yet
  std::vector<RankState> ranks;  ///< of that attempt, index = rank
  /// of the newest kAttemptsKept attempts, index = rank: where their logs lie
  std::map<Attempt, std::vector<std::string>> nodes;
  int failures = 0;                              ///< failed attempts so far that count against max_failures
  int controller_failures = 0;                   ///< attempts that could not be started
  int preemptions = 0, drains = 0, resizes = 0;  ///< attempts that were asked for their place
  /// of all attempts: those that failed, and those that were preempted
  proto::FailureCounts failures_by_class;
  int failed_in_row = 0;  ///< failed attempts since the last one that reported
  std::optional<PastFailure> last_failure;
  bool first_step = false;     ///< the current attempt has made a step
  std::optional<Yield> yield;  ///< the current attempt was asked for its place
  std::int64_t last_seq = 0;   ///< of the current attempt's reports
  proto::Json metrics;         ///< of the latest report, null before the first
  std::int64_t reports = 0;    ///< accepted, over all attempts
  /// reports that the attempts before the current one made, whether or not they arrived
  std::int64_t made_before = 0;
  std::vector<proto::CheckpointRecord> checkpoints;  ///< complete and not deleted, oldest first
  std::int64_t next_checkpoint_index = 0;
  proto::Json return_value;              ///< rank 0's, of the attempt that succeeded
  std::optional<proto::JobError> error;  ///< of the last failed attempt; cleared by success
  std::string verdict;                   ///< why the last failure was or was not retried
  proto::FailureClass failure_class = proto::FailureClass::kUser;  ///< of `error`
  bool retry = false;                                              ///< STOPPING for a failure ends in QUEUED
  std::optional<int> failed_rank;  ///< the first rank of the attempt that failed, until AttemptEnded
  std::optional<proto::RankError> failed_rank_error;
  bool cancel_requested = false;
  std::string cancelled_by;
  std::optional<proto::ValidatedCheckpoint> validates;  ///< it validates a checkpoint of another job
  std::optional<proto::SweepTrial> sweep;               ///< it trains a trial of a sweep
};

/// The state of a job that was just submitted.
/// What its user calls it: "12_3" for a job of an array, else "12".
[[nodiscard]] std::string name_of(const JobState& state);

[[nodiscard]] JobState submitted(JobId id, proto::UnixMs at, const proto::JobSubmitted& event);

/// The state after `event`, or why it is refused: kConflict for an older attempt or an event that is not
/// legal in this phase; the state is unchanged then. A duplicate report (seq not above last_seq) is kConflict
/// as well.
[[nodiscard]] Result<JobState> apply(JobState state, const proto::StampedEvent& event);
/// The same in place, without a copy of a state that may hold thousands of ranks and checkpoints.
[[nodiscard]] Result<Done> advance(JobState& state, const proto::StampedEvent& event);

/// Folds a whole log. The error names the event's position. The first event must be JobSubmitted.
[[nodiscard]] Result<JobState> replay(JobId id, std::span<const proto::StampedEvent> log);

// ---- effects: what must be done because `event` led from the phase `before` to the state `after` ----

/// reserve the port, then Launch to each node
struct LaunchAttempt {
  Attempt attempt;
};
/// StopAttempt to each node of the attempt
struct StopRanks {
  Attempt attempt;
  double grace_s = 0;
  std::string reason;
};
/// YieldAttempt to each node, StopAttempt after grace_s
struct YieldRanks {
  Attempt attempt;
  double grace_s = 0;
  std::string reason;
};
/// and let the scheduler look again
struct FreeResources {
  Attempt attempt;
};
/// the job waits for a place, not before not_before_ms
struct EnterQueue {};
/// it waits and is held: it gives its turn to others
struct LeaveQueue {};
/// an infrastructure failure that speaks against the node
struct BlameNode {
  std::string node, why;
};
/// a job that validates the checkpoint with this index
struct StartValidation {
  std::int64_t index = 0;
};
/// to the ranks of the current attempt
struct TellValidated {
  std::int64_t index = 0;
};
/// of the jobs that validate its checkpoints, those that have not ended
struct CancelValidations {};
/// it was QUEUED or VALIDATING and has ended; with an attempt, FreeResources says so
struct EndJob {};
/// a report of a job that trains a trial
struct JudgeReport {};
/// a job that trains a trial has ended
struct EndTrial {};
using Action =
    std::variant<LaunchAttempt, StopRanks, FreeResources, EnterQueue, YieldRanks, BlameNode, StartValidation,
                 TellValidated, CancelValidations, LeaveQueue, EndJob, JudgeReport, EndTrial>;

[[nodiscard]] std::vector<Action> actions(JobPhase before, const JobState& after,
                                          const proto::JobEvent& event);

/// Events that follow from a state by policy, not from outside: AttemptFailed after the first rank that
/// failed, AttemptEnded after the last rank ended. The head applies them right after the event that made them
/// due, with its time.
[[nodiscard]] std::optional<proto::JobEvent> follow_up(const JobState& state);

/// True while a validation of one of the job's checkpoints is pending.
[[nodiscard]] bool awaits_validation(const JobState& state);
/// The checkpoint with this index; null when the job does not keep it.
[[nodiscard]] const proto::CheckpointRecord* checkpoint_of(const JobState& state, std::int64_t index);

/// The spec as the job's ranks get it: that of an array with the job's own index in train_loop_config.
[[nodiscard]] proto::JobSpec spec_of_rank(const proto::SharedSpec& spec,
                                          const std::optional<proto::ArrayTask>& array);
[[nodiscard]] inline proto::JobSpec spec_of_rank(const JobState& state) {
  return spec_of_rank(state.spec, state.array);
}

/// Reports that were made and never arrived: they came faster than they could be taken, or were made while
/// the head was away too long.
[[nodiscard]] std::int64_t reports_dropped(const JobState& state);

// ---- failures -----------------------------------------------------------------------------------

/// Counts what the event says of a failure: a failed attempt, a time limit, a preemption. Others leave
/// `counts` as they are.
void count_failure(proto::FailureCounts& counts, const proto::JobEvent& event);

/// What the policy needs to know of the attempts so far.
[[nodiscard]] FailureHistory failure_history(const JobState& state);

/// The failure of the current attempt by an error that no rank told (a hang, for one), or that rank `rank`
/// told.
[[nodiscard]] proto::AttemptFailed attempt_failed(const JobState& state, const proto::RankError& error,
                                                  std::optional<int> rank, proto::UnixMs now);

/// The request to the current attempt to give its place back.
[[nodiscard]] proto::YieldRequested yield_requested(const JobState& state, proto::YieldCause cause,
                                                    std::string reason, double grace_s);
/// The request to a job's attempt to end for good because its trial was stopped, or to end and be held
/// because its trial is paused, with the job's stop_grace_s; of a job without an attempt that goes on, what
/// has the same effect. `checkpoint`: it writes one before. `finished`: its trial has all that its
/// schedule gives, and the job succeeds. The job must train a trial and must not have ended.
[[nodiscard]] proto::JobEvent trial_stopped(const JobState& state, std::string reason, bool checkpoint,
                                            bool finished = false);
[[nodiscard]] proto::JobEvent trial_paused(const JobState& state, std::string reason);
/// The same for a job whose trial goes on in another one: it writes no checkpoint, and ends as CANCELLED.
[[nodiscard]] proto::JobEvent trial_replaced(const JobState& state, std::string reason);

/// By a user, or by its sweep.
[[nodiscard]] bool is_held(const JobState& state);
/// Who holds it: "ann", "sweep 7", "ann and sweep 7"; "" nobody.
[[nodiscard]] std::string holders_of(const JobState& state);
/// As what its sweep is named in events of its jobs.
[[nodiscard]] std::string sweep_name(const JobState& state);

/// After a failure: how long the ranks of the attempt that still live may take to end before SIGKILL.
inline constexpr double kFailureGraceS = 0.5;

}  // namespace rtrain::core
