// What a replay must give back of a job.
#pragma once

#include "daemon/core/job.h"
#include "daemon/core/sweep/sweep.h"

namespace rtrain::sim {

/// The first part in which two states of a job differ, with both values; "" when they do not.
[[nodiscard]] std::string difference(const core::JobState& memory, const core::JobState& disk);

/// The same of a sweep.
[[nodiscard]] std::string difference(const core::SweepState& memory, const core::SweepState& disk);

}  // namespace rtrain::sim
