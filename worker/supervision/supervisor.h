// Forks ranks and owns them: their process groups, log files and exit records. Shared by the zygote and the
// keeper. One thread, poll(2), no Asio and no LibTorch: what it forks starts from a plain process.
#pragma once

#include "proto/message/message.h"

#include <functional>
#include <string>

namespace rtrain::supervision {

struct SupervisorOptions {
  std::string role;                ///< "zygote" or "keeper"
  std::string socket;              ///< the agent's Unix socket
  std::string torch_version;       ///< told to the agent; empty for the keeper
  bool ranks_die_with_me = false;  ///< PR_SET_PDEATHSIG: for programs that hold no lease of their own
};

/// Runs in the forked child when session, log, environment, folder and signals are those of the rank and
/// every other file descriptor is closed. Its value is the exit code.
using ChildMain = std::function<int(const proto::SpawnRank&)>;

/// Serves until SIGTERM, or until the agent was not heard of for its lease; then every rank is killed, its
/// record written. Outlives the agent, unless RTRAIN_ENDS_WITH in the environment is the agent's process
/// number: it dials again every 200 ms and tells which ranks it has in hand. Ends that it could not tell
/// stand in the records on disk, where the agent finds them.
/// @return the process's exit code: 0 after SIGTERM, 3 when the lease ran out, 1 when the agent refused it.
[[nodiscard]] int supervise(const SupervisorOptions& options, const ChildMain& child);

}  // namespace rtrain::supervision
