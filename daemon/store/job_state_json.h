// The state of a job as JSON, whole: what the store keeps so that a start need not replay all events of a
// job.
#pragma once

#include "daemon/core/job.h"

namespace rtrain::store {

[[nodiscard]] proto::Json to_json(const core::JobState& state);
/// kProtocol names the field. Fields that are not known are skipped, those that are missing have their
/// defaults.
[[nodiscard]] Result<core::JobState> job_state_from_json(const proto::Json& json);

}  // namespace rtrain::store
