// The closed set of events that make up the life of a sweep. State is a fold over them
// (daemon/core/sweep/sweep.h).
#pragma once

#include "proto/event/event.h"
#include "proto/sweep/sweep_spec.h"

#include <variant>

namespace rtrain::proto {

/// How a trial ended. Written as "completed", "pruned", "failed", "invalid", "cancelled".
enum class TrialOutcome {
  kCompleted,
  kPruned,     ///< the schedule, or the end of the sweep, ended it
  kFailed,     ///< its job failed for good
  kInvalid,    ///< its parameters cannot be trained: it does not count, another is tried
  kCancelled,  ///< by a user
};
[[nodiscard]] std::string_view to_string(TrialOutcome outcome);
[[nodiscard]] std::span<const std::string_view> enum_names(TrialOutcome);

/// How a sweep ended. Written as "succeeded", "failed", "cancelled".
enum class SweepOutcome { kSucceeded, kFailed, kCancelled };
[[nodiscard]] std::string_view to_string(SweepOutcome outcome);
[[nodiscard]] std::span<const std::string_view> enum_names(SweepOutcome);

/// A trial of an earlier sweep, as the searcher is told of it.
struct KnownTrial {
  Json params = Json::object();
  bool complete = false;        ///< else it was stopped early
  std::optional<double> value;  ///< of the metric; absent: it was no number
  double resource = 0;          ///< to which `value` belongs
  double violation = 0;         ///< of the constraints of this sweep
};
struct SweepSubmitted {
  SweepSpec spec;
  std::string user;
  std::string submission = {};         ///< the client's key of this submit; "" none
  std::vector<KnownTrial> known = {};  ///< of the sweeps that spec.from names, the oldest first
};
/// The trial has its parameters. Durable before its job is submitted.
struct TrialSuggested {
  std::int64_t trial = 0;  ///< from 0, without gaps
  Json params = Json::object();
  std::string by;               ///< "baseline", "start_with", "enqueued", "retry of 3", or a search method
  std::int64_t generation = 0;  ///< cmaes
};
struct TrialSubmitted {
  std::int64_t trial = 0;
  JobId job;
};
/// A report of the trial came to a rung. Carries all that decisions use: metric points are no events.
struct RungReached {
  std::int64_t trial = 0;
  int rung = 0;
  double resource = 0;                        ///< of the report
  std::optional<double> value;                ///< of the metric; absent: it is no finite number
  std::map<std::string, double> constraints;  ///< the metrics that have bounds, as far as they are finite
  bool checkpoint = false;                    ///< the trial has one
  std::int64_t reports = 0;  ///< that the trial had made with this one, over all its attempts; 0: not known
};
/// Its job yields and is held.
struct TrialPaused {
  std::int64_t trial = 0;
  int rung = 0;
  std::string reason;
};
/// Its job is released.
struct TrialPromoted {
  std::int64_t trial = 0;
  int rung = 0;  ///< at which it paused
  std::string reason;
};
/// Its job yields and ends: `finished` has all that the schedule gives, else others are better.
struct TrialStopped {
  std::int64_t trial = 0;
  int rung = 0;
  bool finished = false;
  std::string reason;
};
/// A member of a population goes on from another one's checkpoint.
struct TrialCloned {
  std::int64_t trial = 0;
  std::int64_t donor = 0;
  int rung = 0;  ///< at which it was decided
  Json params = Json::object();
  std::string checkpoint;  ///< its path
  std::string reason;
  double resource = 0;  ///< of the checkpoint: the member goes on from there
};
struct TrialEnded {
  std::int64_t trial = 0;
  TrialOutcome outcome = TrialOutcome::kCompleted;
  std::optional<double> value;  ///< of the metric in the last report
  double resource = 0;          ///< of the last report
  std::map<std::string, double> constraints;
  std::string error;
};
/// A user wants these parameters tried next; what is left out is drawn.
struct TrialEnqueued {
  Json params = Json::object();
  std::string by;
  std::int64_t retry_of = -1;  ///< a trial that ended, whose parameters these are; -1: none
};
/// Nothing new starts until it is released. What runs goes on.
struct SweepHeld {
  std::string by;
  std::string reason;  ///< why the head held it; "" when a user did
};
struct SweepReleased {
  std::string by;
};
struct SweepExtended {
  std::int64_t trials = 0;  ///< so many more
  std::string by;
};
/// Nothing new starts, and what runs ends at its next rung, or at once.
struct SweepStopping {
  std::string reason;
  bool now = false;
  SweepOutcome outcome = SweepOutcome::kSucceeded;  ///< what the sweep will be then
};
struct SweepEnded {
  SweepOutcome outcome = SweepOutcome::kSucceeded;
  std::string reason;
};

using SweepEvent = std::variant<SweepSubmitted, TrialSuggested, TrialSubmitted, RungReached, TrialPaused,
                                TrialPromoted, TrialStopped, TrialCloned, TrialEnded, TrialEnqueued,
                                SweepHeld, SweepReleased, SweepExtended, SweepStopping, SweepEnded>;

struct StampedSweepEvent {
  UnixMs at = 0;
  SweepEvent event;
};

[[nodiscard]] std::string_view event_name(const SweepEvent& event);  ///< "sweep_submitted", ...
[[nodiscard]] Json to_json(const StampedSweepEvent& event);
/// kProtocol names the event and the field. Unknown fields are skipped, missing ones have their defaults.
[[nodiscard]] Result<StampedSweepEvent> sweep_event_from_json(const Json& json);

}  // namespace rtrain::proto
