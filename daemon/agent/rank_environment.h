// The whole environment of a rank. Pure.
#pragma once

#include "proto/message/message.h"

namespace rtrain::agent {

/// What a rank's environment takes from its node.
struct NodeFacts {
  /// interface: of the address; "" leaves the *_SOCKET_IFNAME variables out
  std::string node, address, interface;
  std::string agent_socket, launch_file;
  std::string secret;                            ///< of the attempt
  std::map<std::string, std::string> inherited;  ///< the agent's own environment
};

using EnvironmentList = std::vector<std::pair<std::string, std::string>>;

/// An environment without what names a rank of another job or the secret of a supervisor: `rtrain run` may be
/// called by a rank, and an agent be started by one. What TorchTrainer tells its own workers (RTRAIN_FIT_*)
/// and the settings of the CLI stay.
[[nodiscard]] std::map<std::string, std::string> without_rank(std::map<std::string, std::string> environment);

/// Clean (PATH, HOME, LANG, USER, TMPDIR of the agent) unless the job inherits; then defaults that the job
/// may change, the job's env, and last what names the rank. Sorted by name, each name once.
[[nodiscard]] EnvironmentList rank_environment(const proto::Launch& launch, const proto::RankPlacement& rank,
                                               const std::string& rank_dir, const NodeFacts& node);

}  // namespace rtrain::agent
