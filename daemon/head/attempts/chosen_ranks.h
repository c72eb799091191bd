// The ranks of an attempt that a user means.
#pragma once

#include "daemon/core/job.h"

#include <vector>

namespace rtrain::head {

/// In order, each once; all ranks if none is named. kNotFound: the job has no such rank.
[[nodiscard]] Result<std::vector<int>> chosen_ranks(const core::JobState& state, std::vector<int> ranks);

}  // namespace rtrain::head
