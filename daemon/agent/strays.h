#pragma once

#include <string>
#include <vector>

namespace rtrain::agent {

/// Kills every process that was started with one of these folders as its RTRAIN_RANK_DIR. For ranks whose supervisor died: it cannot
/// look after what they left outside their process group any more. Reads all of /proc; processes of other users are passed over.
void kill_strays(const std::vector<std::string>& rank_dirs);

}  // namespace rtrain::agent
