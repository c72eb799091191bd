// The life of a sweep: a pure fold over its events, and the decisions that follow from it.
//
//   RUNNING --SweepHeld--> PAUSED --SweepReleased--> RUNNING
//   RUNNING, PAUSED --SweepStopping--> STOPPING
//   RUNNING, PAUSED, STOPPING --SweepEnded--> SUCCEEDED | FAILED | CANCELLED
//
// and of a trial:
//
//   SUGGESTED --TrialSubmitted--> RUNNING --TrialPaused--> PAUSED --TrialPromoted--> RUNNING
//   RUNNING --TrialCloned--> SUGGESTED --TrialSubmitted--> RUNNING, with another job
//   RUNNING --TrialStopped--> STOPPING;  any of them --TrialEnded--> COMPLETED | PRUNED | FAILED | INVALID | CANCELLED
//
// No clock, no I/O, no generator with a state: the same functions run live, in replay and in a plan.
//
// How it is driven. A report: while reached() gives an event, apply it and every follow_up(). The end of a
// job: its TrialEnded, then every follow_up(). After each, while next() gives an event, apply it. actions()
// of each event that was applied live say what to do; a replay applies the events that are stored, and
// nothing else.
#pragma once

#include "daemon/core/sweep/cmaes.h"
#include "daemon/core/sweep/observation.h"
#include "daemon/core/sweep/schedule.h"
#include "proto/sweep/sweep_event.h"

#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace rtrain::core {

enum class SweepPhase { kRunning, kPaused, kStopping, kSucceeded, kFailed, kCancelled };
/// "RUNNING", "PAUSED", ... as users see it.
[[nodiscard]] std::string_view to_string(SweepPhase phase);
[[nodiscard]] bool is_terminal(SweepPhase phase);

enum class TrialPhase {
  kSuggested,  ///< its job is not submitted yet
  kRunning,    ///< its job is in the queue or runs
  kPaused,
  kStopping,  ///< its job was asked to end for good
  kCompleted,
  kPruned,
  kFailed,
  kInvalid,
  kCancelled,
};
[[nodiscard]] std::string_view to_string(TrialPhase phase);
/// SUGGESTED, RUNNING or STOPPING: its job is in the queue, or holds resources.
[[nodiscard]] bool is_active(TrialPhase phase);
[[nodiscard]] bool has_ended(TrialPhase phase);

/// What a member of a population goes on from.
struct CloneSource {
  std::int64_t donor = 0;
  JobId job;  ///< that wrote the checkpoint: the donor's at that time
  std::string checkpoint;
  friend bool operator==(const CloneSource&, const CloneSource&) = default;
};

struct TrialState {
  Point point;
  std::string by;  ///< who suggested it
  TrialPhase phase = TrialPhase::kSuggested;
  JobId job;  ///< the newest; of a member of a population the last of a chain. 0: not submitted yet
  std::optional<CloneSource> from;  ///< what `job` begins with; nothing: it begins anew
  JobId replaced;                   ///< the job before, which ends; 0: there was none
  std::int64_t generation = 0;
  int rung = -1;             ///< the last that it came to, or, of a clone, that its checkpoint came to
  int rungs = 0;             ///< that it came to, also before it was cloned: numbers what is drawn for it
  double reached = 0;        ///< the resource of that rung: rungs of two brackets compare by it
  double resource = 0;       ///< of its last event with a value
  std::int64_t reports = 0;  ///< that it had made when it came to its last rung
  double loss = kWorstLoss;  ///< at that resource; less is better, infinity for what is no number
  /// Sum of what its constraints are off by; infinity when one of them was reported as no finite number, or
  /// not at all.
  double violation = 0;
  bool finished = false;     ///< STOPPING, because it has all that the schedule gives: it will be COMPLETED
  bool left_paused = false;  ///< PRUNED, because it was paused when the sweep ended
  std::string reason;        ///< of the last decision about it, or its error
  /// The value as it was reported, NaN when there is none.
  [[nodiscard]] double value(bool maximize) const;
  /// It goes on from another one's checkpoint, and has not come to a rung since: nobody knows what its
  /// parameters are worth.
  [[nodiscard]] bool is_unjudged_clone() const;
};

/// All that is known of a sweep. Copyable; a value.
struct SweepState {
  std::int64_t id = 0;
  std::shared_ptr<const proto::SweepSpec> spec;
  std::shared_ptr<const Space> space;
  std::shared_ptr<const Grid> grid;  ///< search method grid
  std::string user;
  std::string submission;  ///< the key of the request that submitted it; "" none
  SweepPhase phase = SweepPhase::kRunning;
  std::vector<TrialState> trials;          ///< by number
  std::deque<proto::TrialEnqueued> queue;  ///< what was given, to be tried first
  /// Trials of earlier sweeps.
  std::shared_ptr<const std::vector<Observation>> known = std::make_shared<const std::vector<Observation>>();
  std::int64_t trials_max = 0;                         ///< that count: those found invalid are replaced
  std::int64_t active = 0, invalid = 0, searched = 0;  ///< `searched`: suggested by the search method
  std::int64_t failed_in_row = 0;                      ///< trials that failed since the last that did not
  std::int64_t invalid_in_row = 0;                     ///< trials found invalid since the last that was not
  std::int64_t best = -1;                              ///< the best trial, -1 none: see best_of()
  std::int64_t at_target = -1;                         ///< a trial as good as limits.target, -1 none
  std::int64_t not_better_in_row = 0;                  ///< trials that ended since the best one changed
  std::int64_t undecided = -1;                         ///< the trial whose RungReached was the last event
  std::string reason;  ///< of STOPPING, of the end, and of a pause by the head
  proto::SweepOutcome outcome = proto::SweepOutcome::kSucceeded;  ///< STOPPING: how it will end
  Schedule schedule;
  std::optional<CmaEsSearch> cmaes;

  [[nodiscard]] const TrialState& trial(std::int64_t number) const {
    return trials[static_cast<std::size_t>(number)];
  }
};

/// So many trials have no parameters yet.
[[nodiscard]] std::int64_t trials_to_give(const SweepState& state);

/// The state of a sweep that was just submitted.
[[nodiscard]] SweepState submitted_sweep(std::int64_t id, const proto::SweepSubmitted& event);

/// Applies an event, or refuses it: kConflict for one that is not legal in this state, which is unchanged
/// then.
[[nodiscard]] Result<Done> fold(SweepState& state, const proto::SweepEvent& event);

/// The trials that have a value, the best first: those that hold their constraints, those that came further,
/// the better value, the older. Trials that failed or are invalid are not among them.
[[nodiscard]] std::vector<std::int64_t> ranked_trials(const SweepState& state);

/// Folds a whole log; its first event must be SweepSubmitted. The error names the event's position.
[[nodiscard]] Result<SweepState> replay_sweep(std::int64_t id, std::span<const proto::StampedSweepEvent> log);

/// A report of a trial.
struct TrialReport {
  std::int64_t trial = 0;
  const proto::Json& metrics;
  std::int64_t reports = 0;  ///< so many the trial has made, over all its attempts
  bool checkpoint = false;   ///< it has one
};
/// The rung that the report came to; nothing, when it comes to none. A report below the highest resource seen
/// (work that is done again) comes to none; one report may come to several rungs in turn.
[[nodiscard]] std::optional<proto::RungReached> reached(const SweepState& state, const TrialReport& report);
/// The end of a trial's job with its last report: the value and the constraints in it. Of a trial that was
/// STOPPING the outcome is completed when it is `finished`, else pruned. One that completed without having
/// ever said how far it is, where a schedule measures that, has failed: nobody could judge it.
[[nodiscard]] proto::TrialEnded trial_ended(const SweepState& state, const TrialReport& last,
                                            proto::TrialOutcome outcome, std::string error);

/// The checkpoint of `donor` that `trial` can go on from, which stays until it has; nothing: there is none.
/// Whoever knows the jobs answers it.
using FindCheckpoint =
    std::function<std::optional<proto::CheckpointRecord>(std::int64_t trial, std::int64_t donor)>;

/// The event that follows from the state by policy: the decision about a trial that came to a rung, a limit
/// that was hit, the end of the sweep. `find`: empty, no trial has a checkpoint for another.
[[nodiscard]] std::optional<proto::SweepEvent> follow_up(const SweepState& state,
                                                         const FindCheckpoint& find = {});

/// Whether one more trial may be active. It asks for nothing, so that it is cheap to ask before next().
[[nodiscard]] bool has_room(const SweepState& state);
/// What may start now: TrialPromoted or TrialSuggested. `waiting`: jobs of the sweep that are in the queue.
[[nodiscard]] std::optional<proto::SweepEvent> next(const SweepState& state, std::int64_t waiting);
/// So many jobs of a sweep wait in the queue at most, so that the searcher sees results first.
inline constexpr std::int64_t kWaitingMax = 2;

/// The parameters of trial `trials.size()` by the search method, with generation and name of the method;
/// nothing: it has no more.
[[nodiscard]] std::optional<proto::TrialSuggested> suggest(const SweepState& state);
/// What a searcher knows of the trials.
[[nodiscard]] std::vector<Observation> history_of(const SweepState& state);

/// What the sweep has used.
struct SweepUsage {
  double hours = 0;      ///< since it was submitted
  double gpu_hours = 0;  ///< of all its trials
};
/// The limit of time that is hit.
[[nodiscard]] std::optional<proto::SweepStopping> limit_hit(const SweepState& state, const SweepUsage& usage);

/// How many trials may be active at once.
[[nodiscard]] std::int64_t running_max(const SweepState& state);

// ---- effects: what must be done because `event` was applied, `state` being the state after it
// -----------------

/// Submit the trial's job, and apply TrialSubmitted with its number.
struct SubmitTrial {
  std::int64_t trial = 0;
};
/// Its job yields and is held.
struct PauseTrial {
  std::int64_t trial = 0;
  std::string reason;
};
/// Its job is released.
struct ReleaseTrial {
  std::int64_t trial = 0;
};
/// Its job yields and ends.
struct StopTrial {
  std::int64_t trial = 0;
  bool checkpoint = false;  ///< it writes one before
  std::string reason;
  bool finished = false;  ///< the trial has all that the schedule gives
};
/// Its job ends without a checkpoint, and a new one goes on from that of its donor: it is submitted as by
/// SubmitTrial.
struct CloneTrial {
  std::int64_t trial = 0;
  JobId replaced;
};
using SweepAction = std::variant<SubmitTrial, PauseTrial, ReleaseTrial, StopTrial, CloneTrial>;

/// "trial 3 goes on from <path>, the checkpoint of trial 5"; the trial must have been cloned.
[[nodiscard]] std::string clone_text(const SweepState& state, std::int64_t trial);

[[nodiscard]] std::vector<SweepAction> actions(const SweepState& state, const proto::SweepEvent& event);

}  // namespace rtrain::core
