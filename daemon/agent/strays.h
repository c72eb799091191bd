#pragma once

#include "common/os/process.h"

#include <map>
#include <string>
#include <vector>

namespace rtrain::agent {

/// What is known of a rank whose supervisor died.
struct Remains {
  std::string dir;
  std::string cgroup;                          ///< "": none
  std::optional<os::ProcessIdentity> process;  ///< the rank's own
};
/// Kills all that is in the ranks' control groups, in their process groups, and every process that was
/// started with one of the folders as its RTRAIN_RANK_DIR: their supervisor cannot look after them any more.
/// Reads all of /proc; processes of other users are passed over. Blocks until they have gone, at most 200 ms.
/// @return of which ranks something still lives, and the process
std::map<std::size_t, pid_t> kill_remains(const std::vector<Remains>& ranks);

}  // namespace rtrain::agent
