// What should happen to a queue: a planner (planner.h) that is built from a snapshot and asked once.
#pragma once

#include "daemon/core/planner.h"

namespace rtrain::core {

struct Snapshot {
  std::vector<NodeView> nodes;  ///< what `running` holds is in their views
  std::vector<WaitingJob> queue;
  std::vector<RunningJob> running = {};
  std::vector<Reservation> reservations = {};
  proto::Queues queues = {};
  FairShare fair_share = FairShare();
};

/// A planner that knows the snapshot.
[[nodiscard]] Planner make_planner(const Snapshot& snapshot);

struct Decision {
  JobId id;
  Placement placement;                  ///< placed(): start it there
  int queue_position = 0;               ///< 1-based among those that wait; 0 when placed
  std::string reason;                   ///< why it waits: "waits behind job 7", or the placement's reason
  proto::UnixMs expected_start_ms = 0;  ///< at the latest; 0: it is placed, or nobody can say
};

/// One decision per waiting job, in the order of the snapshot's queue.
[[nodiscard]] std::vector<Decision> plan(const Snapshot& snapshot, proto::UnixMs now = 0);

}  // namespace rtrain::core
