// From one SpawnRank to one process that is alone in its session.
#pragma once

#include "worker/supervision/supervisor.h"

#include <sys/types.h>

namespace rtrain::supervision {

/// A child that sets itself up: session, log, environment, folder. That can take as long as a dead file
/// server does, so nobody waits for it: `setup` is a pipe (non-blocking, the caller closes it) that ends when
/// the child enters its program, or tells why it cannot.
struct ForkedRank {
  pid_t pid = 0;
  int setup = -1;
};
/// The child is in the request's control group, if it names one, before anything else. kIo: no group, no
/// pipe, no process.
[[nodiscard]] Result<ForkedRank> fork_rank(const proto::SpawnRank& spawn, bool dies_with_parent,
                                           const ChildMain& child);
/// Adds what the pipe has to `trouble` (start_error_of() reads it). True at its end: the child is in its
/// program, or there is trouble and it is ending.
[[nodiscard]] bool read_setup(int setup, std::string& trouble);

}  // namespace rtrain::supervision
