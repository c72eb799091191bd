// A planner that does what it says, and jobs for it.
#pragma once

#include "daemon/core/scheduler.h"
#include "tests/support/jobs.h"

#include <functional>

namespace rtrain::test {

using namespace rtrain::core;

inline constexpr proto::UnixMs kNow = 1'000'000;

/// A job of `workers` CPUs; `change` sets what else it requests.
inline WaitingJob job(std::int64_t id, int workers, const std::function<void(WaitingJob&)>& change = {}) {
  WaitingJob waiting{JobId(id), {}};
  waiting.scaling.num_workers = workers;
  waiting.scaling.resources_per_worker = proto::Resources{{"CPU", 1}};
  if (change) change(waiting);
  return waiting;
}
inline WaitingJob limited(std::int64_t id, int workers, double limit_s) {
  return job(id, workers, [&](WaitingJob& j) { j.scheduling.time_limit_s = limit_s; });
}
inline WaitingJob with_priority(std::int64_t id, int workers, int priority) {
  return job(id, workers, [&](WaitingJob& j) { j.scheduling.priority = priority; });
}

/// A planner that does what it says.
struct Scene {
  explicit Scene(const std::vector<NodeView>& nodes) {
    for (const auto& node : nodes) planner.node(node);
  }
  void wait(const WaitingJob& waiting) {
    jobs[waiting.id] = waiting;
    planner.wait(waiting);
  }
  /// The numbers of those that start.
  std::vector<std::int64_t> pass() {
    last = planner.plan(now);
    std::vector<std::int64_t> started;
    for (const auto& start : last.starts) {
      planner.start({jobs.at(start.id), start.placement.ranks, now});
      ranks[start.id] = start.placement.ranks;
      started.push_back(start.id.value());
    }
    for (const auto& order : last.yields)
      planner.stopping(order.id, now + static_cast<proto::UnixMs>(order.grace_s * 1000),
                       order.cause == proto::YieldCause::kResize);
    return started;
  }
  void end(std::int64_t id) { planner.end(JobId(id)); }
  Explanation explain(std::int64_t id) { return planner.explain(JobId(id), now); }
  std::string where(std::int64_t id) {
    std::string text;
    for (const auto& rank : ranks.at(JobId(id))) text += (text.empty() ? "" : " ") + rank.node;
    return text;
  }

  Planner planner;
  std::map<JobId, WaitingJob> jobs;
  std::map<JobId, std::vector<proto::RankPlacement>> ranks;
  Plan last;
  proto::UnixMs now = kNow;
};

using Ids = std::vector<std::int64_t>;

}  // namespace rtrain::test
