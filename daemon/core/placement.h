// Gang placement: all workers of a job or none. Pure.
#pragma once

#include "proto/message/types.h"

#include <map>
#include <set>
#include <span>
#include <vector>

namespace rtrain::core {

/// A node as the scheduler sees it: totals, and what is held at the moment.
struct NodeView {
  proto::NodeInfo info;
  proto::Resources used;    ///< held by placed attempts
  std::set<int> gpus_used;  ///< NVML indices of GPUs of which anything is held
  /// of those that are shared: how much is held; the others of gpus_used are held whole
  std::map<int, double> gpu_shares;
  std::set<int> gpus_out;  ///< NVML indices out of service: nothing is placed on them
  bool alive = true;
  /// alive, but its agent is not connected at the moment: what runs there goes on, nothing can start
  bool away = false;
  bool cordoned = false;  ///< an operator wants nothing new there (cordon, drain); running jobs continue
  double suspicion = 0;   ///< above 0: taken only when a job fits nowhere else (suspicion.h)
};

struct Placement {
  std::vector<proto::RankPlacement> ranks;  ///< by rank; empty when it does not fit
  /// Why not, for a person: "needs 4 x {CPU: 1, GPU: 1}, 1 fits now; node a has 1 of 2 GPU free; ...", of
  /// each node only what is short there. Empty when placed.
  std::string reason;
  bool feasible = true;  ///< false: it would not fit even if every node were idle
  [[nodiscard]] bool placed() const { return !ranks.empty(); }
};

/// Where `scaling` would run now. PACK: fewest nodes, fullest first; SPREAD: even counts; STRICT_PACK: one
/// node; STRICT_SPREAD: each on its own node. Ranks are numbered node by node (node of rank 0 first), then by
/// GPU index. Shares of a GPU go to the fullest GPU that has room. An elastic job gets as many workers as
/// fit, at least its minimum. Nodes that are suspected are left out where the job fits without them.
/// Deterministic: ties go to the node's name. For one question; who asks often asks a Planner (planner.h).
[[nodiscard]] Placement place(const proto::ScalingConfig& scaling, const std::vector<NodeView>& nodes);

/// What one rank holds is added to or taken from the view of its node.
void hold(NodeView& node, const proto::RankPlacement& rank, const proto::Resources& per_worker);
void release(NodeView& node, const proto::RankPlacement& rank, const proto::Resources& per_worker);
/// The same for all of a placement; ranks on nodes that are not among `nodes` are skipped.
void hold(std::vector<NodeView>& nodes, const std::vector<proto::RankPlacement>& ranks,
          const proto::Resources& per_worker);
void release(std::vector<NodeView>& nodes, const std::vector<proto::RankPlacement>& ranks,
             const proto::Resources& per_worker);

}  // namespace rtrain::core
