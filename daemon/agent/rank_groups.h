// The control groups of this node's ranks: one a rank, <tree>/<job>.<attempt>.<rank>. Its supervisor makes
// it, kills all that is in it when the rank ends, and removes it.
#pragma once

#include "proto/message/message.h"

#include <set>

namespace rtrain::agent {

/// The tree for an agent with this state_dir, below the agent's own group; "" when `mode` is "off" or the
/// machine has none to write to. The log says which holds.
[[nodiscard]] std::string open_rank_groups(const std::string& mode, const std::string& state_dir);
/// "" in an empty tree.
[[nodiscard]] std::string rank_group(const std::string& tree, const proto::RankKey& key);
/// Kills and removes every group of the tree but those of `keep`: an earlier agent's, of attempts that are
/// over.
void clean_rank_groups(const std::string& tree, const std::set<proto::RankKey>& keep);

}  // namespace rtrain::agent
