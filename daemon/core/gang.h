// Which of the nodes with room a gang of workers takes: all of them or none. Pure.
#pragma once

#include "daemon/core/node_index.h"

#include <set>
#include <vector>

namespace rtrain::core {

/// So many workers of a job on one node.
struct Share {
  NodeId node = 0;
  int workers = 0;
};

/// How many workers of `ask` fit into `rooms`, counted up to `enough`.
[[nodiscard]] int most(const std::set<Room>& rooms, const Ask& ask, int enough, const NodeIndex& nodes);
[[nodiscard]] int most(const std::vector<Room>& rooms, const Ask& ask, int enough, const NodeIndex& nodes);

/// Where `workers` of `ask` go, in the order of their ranks; empty when they do not all fit. PACK: whole
/// nodes first, the rest to the node that it fits most tightly. SPREAD: emptiest first, one each a round.
/// Topology: within a rack, of racks that hold it the one that it fits most tightly; preferred: else the
/// fewest racks. A vector is sorted.
[[nodiscard]] std::vector<Share> choose(const std::set<Room>& rooms, const Ask& ask, int workers,
                                        const NodeIndex& nodes);
[[nodiscard]] std::vector<Share> choose(const std::vector<Room>& rooms, const Ask& ask, int workers,
                                        const NodeIndex& nodes);

/// The nodes of `last` (by rank, of the last attempt) come first, in their order, so that rank 0 stays where
/// its data is.
void keep_order(std::vector<Share>& shares, const std::vector<std::string>& last, const NodeIndex& nodes);

/// Takes the place of `shares` in `nodes` and tells what each rank got.
[[nodiscard]] std::vector<proto::RankPlacement> ranks_of(const std::vector<Share>& shares, const Need& need,
                                                         NodeIndex& nodes);

}  // namespace rtrain::core
