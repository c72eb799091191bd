// What should start now: a pure function of a snapshot. `rtrain plan` and the head call the same code.
#pragma once

#include "daemon/core/placement.h"

namespace rtrain::core {

struct WaitingJob { JobId id; proto::ScalingConfig scaling; };

struct Snapshot {
  std::vector<NodeView> nodes;
  std::vector<WaitingJob> queue;  ///< in order of submission
};

struct Decision {
  JobId id;
  Placement placement;       ///< placed(): start it there
  int queue_position = 0;    ///< 1-based among those that wait; 0 when placed
  std::string reason;        ///< why it waits: "waits behind job 7", or the placement's reason
};

/// One decision per waiting job, in order. Strict first in, first out: a job that cannot start holds back those behind it
/// unless it is infeasible on every known node (then it waits for a node and does not block).
[[nodiscard]] std::vector<Decision> plan(Snapshot snapshot);

}  // namespace rtrain::core
