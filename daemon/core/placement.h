// Gang placement: all workers of a job or none. Pure.
#pragma once

#include "proto/message/types.h"

#include <set>

namespace rtrain::core {

/// A node as the scheduler sees it: totals, and what is held at the moment.
struct NodeView {
  proto::NodeInfo info;
  proto::Resources used;       ///< held by placed attempts
  std::set<int> gpus_used;     ///< NVML indices
  bool alive = true;
  bool away = false;           ///< alive, but its agent is not connected at the moment: what runs there goes on, nothing can start
  double suspicion = 0;        ///< above 0: taken only when a job fits nowhere else (suspicion.h)
};

struct Placement {
  std::vector<proto::RankPlacement> ranks;  ///< by rank; empty when it does not fit
  /// Why not, for a person: "needs 4 x {CPU: 1, GPU: 1}, 1 fits now; node a has 1 of 2 GPU free; ...", of each node only what is
  /// short there. Empty when placed.
  std::string reason;
  bool feasible = true;  ///< false: it would not fit even if every node were idle
  [[nodiscard]] bool placed() const { return !ranks.empty(); }
};

/// Where `scaling` would run now. PACK: fewest nodes, fullest first; SPREAD: even counts; STRICT_PACK: one node;
/// STRICT_SPREAD: each on its own node. Ranks are numbered node by node (node of rank 0 first), then by GPU index.
/// Nodes that are suspected are left out where the job fits without them.
/// Deterministic: ties go to the node's name.
[[nodiscard]] Placement place(const proto::ScalingConfig& scaling, const std::vector<NodeView>& nodes);

/// What `ranks` hold on each node of the placement is added to or taken from `nodes`.
void hold(std::vector<NodeView>& nodes, const std::vector<proto::RankPlacement>& ranks, const proto::Resources& per_worker);
void release(std::vector<NodeView>& nodes, const std::vector<proto::RankPlacement>& ranks, const proto::Resources& per_worker);

}  // namespace rtrain::core
