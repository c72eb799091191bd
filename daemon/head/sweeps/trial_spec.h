// The job of a trial. Pure.
#pragma once

#include "daemon/core/sweep/sweep.h"

namespace rtrain::head {

/// A job of an idle sweep.
inline constexpr int kIdlePriority = -1000;

/// The sweep's job with the parameters of the trial in it, called "<name>-<trial>"; that of a clone begins
/// with the checkpoint of its donor. kInvalidArgument: they make no valid job.
[[nodiscard]] Result<proto::JobSpec> trial_spec(const core::SweepState& state, std::int64_t trial);

}  // namespace rtrain::head
