// From one SpawnRank to one process that is alone in its session.
#pragma once

#include "worker/supervision/supervisor.h"

#include <sys/types.h>

namespace rtrain::supervision {

/// The new rank's pid, or why its process could not be set up (fork, log file, folder), with errno's text.
/// Returns when the child is about to enter `child`.
[[nodiscard]] Result<pid_t> fork_rank(const proto::SpawnRank& spawn, bool dies_with_parent, const ChildMain& child);

/// Kills what the rank left behind outside its process group: processes that became our children (we are their subreaper) and carry
/// its RTRAIN_RANK_DIR in the environment they were started with.
void kill_strays(const std::string& rank_dir);

}  // namespace rtrain::supervision
