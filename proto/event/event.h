// The closed set of events that make up the life of a job. State is a fold over them (daemon/core/job.h).
#pragma once

#include "proto/jobspec/shared_spec.h"
#include "proto/message/types.h"

#include <map>
#include <span>
#include <variant>

namespace rtrain::proto {

/// Wall time, milliseconds since 1970; for display only, never for a deadline.
using UnixMs = std::int64_t;

/// Whose fault a failure is. Written as "user", "infrastructure", "preemption".
enum class FailureClass { kUser, kInfrastructure, kPreemption };
[[nodiscard]] std::string_view to_string(FailureClass failure_class);
[[nodiscard]] std::span<const std::string_view> enum_names(FailureClass);  ///< all of them, in order
/// How many failures there were: by the name of their class, and there by the kind of their error ("exit",
/// "lost", "hang", ...).
using FailureCounts = std::map<std::string, std::map<std::string, std::int64_t>>;

/// Why an attempt is asked to give its place back. Written as "preempted", "drain", "resize", "pruned",
/// "paused", "finished", "replaced".
enum class YieldCause {
  kPreempted,
  kDrain,
  kResize,
  kPruned,    ///< its trial was stopped: the job ends as CANCELLED when its ranks are gone
  kPaused,    ///< its trial waits to be promoted: the job is held from here on
  kFinished,  ///< its trial has all that its schedule gives: the job succeeds when its ranks are gone
  kReplaced,  ///< its trial goes on from another one's checkpoint, in a job of its own: this one ends as
              ///< CANCELLED
};
[[nodiscard]] std::string_view to_string(YieldCause cause);
[[nodiscard]] std::span<const std::string_view> enum_names(YieldCause);

struct JobSubmitted {
  SharedSpec spec;  ///< empty in a journal that stores it once for all jobs of an array
  std::string run_name;
  std::string run_dir;
  std::string user;
  std::optional<ArrayTask> array;
  std::string submission = {};  ///< the client's key of this submit; of an array in its first job; "" none
  std::optional<ValidatedCheckpoint> validates = {};  ///< it validates a checkpoint of another job
  std::optional<SweepTrial> sweep = {};               ///< it trains a trial of a sweep
};
/// The job keeps its place in the queue and is not started until it is released. What runs goes on.
struct JobHeld {
  std::string by;
  /// By its sweep, because its trial is paused, or the sweep is: beside a user's hold, and neither lifts the
  /// other.
  bool by_sweep = false;
};
struct JobReleased {
  std::string by;
  bool by_sweep = false;  ///< what its sweep held
};
/// The scheduler gave every rank its place. Starts an attempt.
struct AttemptPlaced {
  Attempt attempt;
  std::vector<RankPlacement> ranks;
};
struct RankForked {
  Attempt attempt;
  int rank = 0;
  std::int64_t pid = 0;
};
struct RankEntered {
  Attempt attempt;
  int rank = 0;
};
/// The training loop of the attempt made its first step; once an attempt.
struct FirstStep {
  Attempt attempt;
};
struct MetricsReported {
  Attempt attempt;
  std::int64_t seq = 0;
  Json metrics;
  std::optional<CheckpointRecord> checkpoint;
  std::vector<std::string> deleted_checkpoints;
};
struct RankFinished {
  Attempt attempt;
  int rank = 0;
  ExitStatus status;
  std::optional<RankError> error;
  Json return_value;
  bool yielded = false;  ///< it ended because it was asked to yield, and has more to do
};
/// The first failure of an attempt and the verdict on it. The other ranks are being stopped.
struct AttemptFailed {
  Attempt attempt;
  JobError error;
  bool retry = false;
  std::string reason;  ///< the verdict as a sentence
  FailureClass failure_class = FailureClass::kUser;
  /// against max_failures; else the attempt never started, which counts against controller_failure_limit
  bool counted = true;
  UnixMs retry_at_ms = 0;  ///< not before; 0: at once
  /// the attempt had reported: said here because metric points are no events, and a replay sees none
  bool reported = false;
};
/// The attempt is asked to write a checkpoint, to end and to wait for another place. No failure.
struct YieldRequested {
  Attempt attempt;
  YieldCause cause = YieldCause::kPreempted;
  std::string reason;
  double grace_s = 0;  ///< then its ranks are stopped
  /// false: it was preempted oftener than max_preemption_failures allows, or its trial ends, and it with it
  bool retry = true;
  bool checkpoint = true;  ///< false: it writes none, and its ranks are stopped at once
};
/// The attempt ran for as long as the job may. Its ranks are being stopped, the job ends.
struct TimeLimitReached {
  Attempt attempt;
  double limit_s = 0;
};
struct CancelRequested {
  std::string by;
};
/// Every rank of the attempt is gone and its resources are free.
struct AttemptEnded {
  Attempt attempt;
  std::int64_t last_seq = 0;  ///< of its reports: said here because metric points are no events
};

/// A job was submitted that validates the checkpoint.
struct ValidationStarted {
  std::int64_t index = 0;  ///< of the checkpoint
  JobId job;
};
/// The validation of the checkpoint is over. Its metrics are merged into the checkpoint's.
struct ValidationEnded {
  std::int64_t index = 0;                                  ///< of the checkpoint
  ValidationStatus status = ValidationStatus::kValidated;  ///< not kPending
  Json metrics = Json::object();
  std::string error;  ///< why there are none
};

using JobEvent =
    std::variant<JobSubmitted, AttemptPlaced, RankForked, RankEntered, MetricsReported, RankFinished,
                 AttemptFailed, CancelRequested, AttemptEnded, JobHeld, JobReleased, FirstStep,
                 YieldRequested, TimeLimitReached, ValidationStarted, ValidationEnded>;

struct StampedEvent {
  UnixMs at = 0;
  JobEvent event;
};

[[nodiscard]] std::string_view event_name(const JobEvent& event);  ///< "job_submitted", ...
[[nodiscard]] Json to_json(const StampedEvent& event);
/// kProtocol names the event and the field. Fields that are not known are skipped, those that are missing
/// have their defaults: an older journal is readable.
[[nodiscard]] Result<StampedEvent> event_from_json(const Json& json);

}  // namespace rtrain::proto
