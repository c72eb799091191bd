#include "daemon/core/scheduler.h"

namespace rtrain::core {

std::vector<Decision> plan(Snapshot snapshot) {
  std::vector<Decision> decisions;
  decisions.reserve(snapshot.queue.size());
  std::optional<JobId> blocker;  // the first feasible job that cannot start: nobody overtakes it
  int waiting = 0;
  for (const auto& job : snapshot.queue) {
    Decision decision{job.id, place(job.scaling, snapshot.nodes), 0, {}};
    if (blocker && decision.placement.feasible) {
      decision.placement.ranks.clear();
      decision.reason = "waits behind job " + to_string(*blocker);
    } else if (decision.placement.placed()) {
      hold(snapshot.nodes, decision.placement.ranks, job.scaling.resources());
    } else {
      decision.reason = decision.placement.reason;
      if (decision.placement.feasible) blocker = job.id;
    }
    if (!decision.placement.placed()) decision.queue_position = ++waiting;
    decisions.push_back(std::move(decision));
  }
  return decisions;
}

}  // namespace rtrain::core
