#include "daemon/core/scheduler.h"

#include <unordered_map>

namespace rtrain::core {

Planner make_planner(const Snapshot& snapshot) {
  Planner planner;
  planner.set_queues(snapshot.queues);
  planner.set_fair_share(snapshot.fair_share);
  for (const auto& node : snapshot.nodes) planner.node(node);
  planner.set_reservations(snapshot.reservations);
  for (const auto& job : snapshot.running) planner.adopt(job);
  for (const auto& job : snapshot.queue) planner.wait(job);
  return planner;
}

std::vector<Decision> plan(const Snapshot& snapshot, proto::UnixMs now) {
  auto planner = make_planner(snapshot);
  auto plan = planner.plan(now);
  std::unordered_map<JobId, Placement> placements;
  for (auto& start : plan.starts) placements[start.id] = std::move(start.placement);
  // The others are explained by what is left when those have started.
  for (const auto& job : snapshot.queue)
    if (const auto placed = placements.find(job.id); placed != placements.end())
      planner.start({job, placed->second.ranks, now});
  std::vector<Decision> decisions;
  for (const auto& job : snapshot.queue) {
    if (const auto placed = placements.find(job.id); placed != placements.end()) {
      decisions.push_back({job.id, std::move(placed->second), 0, {}, 0});
      continue;
    }
    auto explanation = planner.explain(job.id, now);
    decisions.push_back({job.id,
                         {{}, explanation.reason, explanation.feasible},
                         explanation.position,
                         explanation.reason,
                         explanation.expected_start_ms});
  }
  return decisions;
}

}  // namespace rtrain::core
