#include "daemon/core/scheduler.h"

#include <map>
#include <tuple>

namespace rtrain::core {

namespace {

/// What a job asks for, as a key: a long queue is mostly the same few jobs again and again.
using Ask = std::tuple<int, proto::PlacementStrategy, proto::Resources>;

}  // namespace

std::vector<Decision> plan(Snapshot snapshot) {
  std::vector<Decision> decisions;
  decisions.reserve(snapshot.queue.size());
  std::optional<JobId> blocker;  // the first feasible job that cannot start: nobody overtakes it
  std::map<Ask, Placement> settled;  // what cannot start in this plan any more, whatever else is decided
  int waiting = 0;
  for (const auto& job : snapshot.queue) {
    Ask ask{job.scaling.num_workers, job.scaling.placement_strategy, job.scaling.resources()};
    const auto known = settled.find(ask);
    Decision decision{job.id, known != settled.end() ? known->second : place(job.scaling, snapshot.nodes), 0, {}};
    if (blocker && decision.placement.feasible) {
      decision.placement.ranks.clear();
      decision.reason = "waits behind job " + to_string(*blocker);
    } else if (decision.placement.placed()) {
      hold(snapshot.nodes, decision.placement.ranks, std::get<proto::Resources>(ask));
    } else {
      decision.reason = decision.placement.reason;
      if (decision.placement.feasible) blocker = job.id;
    }
    if (!decision.placement.placed()) {
      decision.queue_position = ++waiting;
      if (known == settled.end()) settled.emplace(std::move(ask), decision.placement);
    }
    decisions.push_back(std::move(decision));
  }
  return decisions;
}

}  // namespace rtrain::core
