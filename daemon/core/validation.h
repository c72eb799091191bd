// The job that validates a checkpoint of another one: its spec, and what its end says. Pure.
#pragma once

#include "daemon/core/job.h"

namespace rtrain::core {

/// The largest object that a validation function may return, as JSON text: it becomes part of metrics.
inline constexpr std::size_t kValidationBytesMax = 256u << 10;

/// One worker with `validation` of the parent's spec, which has one; queue, priority, environment and labels
/// are the parent's. It resumes from the checkpoint, and its results lie below the parent's run folder.
[[nodiscard]] proto::JobSpec validation_spec(const JobState& parent,
                                             const proto::CheckpointRecord& checkpoint);

/// What the end of the job that validates checkpoint `index` says of it. `child` has ended.
[[nodiscard]] proto::ValidationEnded validation_ended(const JobState& child, std::int64_t index);

/// The time that the validation of this checkpoint may take.
[[nodiscard]] double validation_timeout_s(const JobState& parent, const proto::CheckpointRecord& checkpoint);

}  // namespace rtrain::core
