// The closed set of events that make up the life of a job. State is a fold over them (daemon/core/job.h).
#pragma once

#include "proto/message/types.h"

#include <variant>

namespace rtrain::proto {

/// Wall time, milliseconds since 1970; for display only, never for a deadline.
using UnixMs = std::int64_t;

struct JobSubmitted { JobSpec spec; std::string run_name; std::string run_dir; };
/// The scheduler gave every rank its place. Starts an attempt.
struct AttemptPlaced { Attempt attempt; std::vector<RankPlacement> ranks; };
struct RankForked { Attempt attempt; int rank = 0; std::int64_t pid = 0; };
struct RankEntered { Attempt attempt; int rank = 0; };
struct MetricsReported {
  Attempt attempt;
  std::int64_t seq = 0;
  Json metrics;
  std::optional<CheckpointRecord> checkpoint;
  std::vector<std::string> deleted_checkpoints;
};
struct RankFinished { Attempt attempt; int rank = 0; ExitStatus status; std::optional<RankError> error; Json return_value; };
/// The first failure of an attempt and the verdict on it. The other ranks are being stopped.
struct AttemptFailed { Attempt attempt; JobError error; bool retry = false; std::string reason; };
struct CancelRequested { std::string by; };
/// Every rank of the attempt is gone and its resources are free.
struct AttemptEnded { Attempt attempt; };

using JobEvent = std::variant<JobSubmitted, AttemptPlaced, RankForked, RankEntered, MetricsReported, RankFinished,
                              AttemptFailed, CancelRequested, AttemptEnded>;

struct StampedEvent { UnixMs at = 0; JobEvent event; };

[[nodiscard]] std::string_view event_name(const JobEvent& event);  ///< "job_submitted", ...
[[nodiscard]] Json to_json(const StampedEvent& event);
[[nodiscard]] Result<StampedEvent> event_from_json(const Json& json);

}  // namespace rtrain::proto
