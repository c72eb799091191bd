// The queues of a cluster: what each may take, and what is taken. Pure.
#pragma once

#include "common/base/result.h"
#include "proto/config/queues.h"
#include "proto/jobspec/jobspec.h"

#include <map>
#include <string>

namespace rtrain::core {

/// What counts against a quota.
struct Held {
  double gpus = 0, cpus = 0;
  int jobs = 0;
};
/// Of `workers` of one job.
[[nodiscard]] Held held_by(const proto::Resources& per_worker, int workers);
void add(Held& held, const Held& more, int sign);

/// How many of at most `workers` may start beside what is held; 0: none.
[[nodiscard]] int within(const proto::Quota& quota, const Held& held, const proto::Resources& per_worker,
                         int workers);
/// "queue research may hold 8 GPUs and holds 7"; "" when `workers` may start. `whose`: "queue research",
/// "user ann in queue research".
[[nodiscard]] std::string over(const proto::Quota& quota, const Held& held,
                               const proto::Resources& per_worker, int workers, const std::string& whose);

/// The rules of the queue of that name. There is always one called default.
[[nodiscard]] const proto::QueueRules& rules_of(const std::map<std::string, proto::QueueRules>& queues,
                                                const std::string& name);
/// Why a job with these requests may not be in its queue: kInvalidArgument names the queue (or the nearest),
/// the bound and the way out.
[[nodiscard]] Result<Done> may_enter(const std::map<std::string, proto::QueueRules>& queues,
                                     const proto::SchedulingConfig& scheduling);
/// Of an attempt: the job's own, else that of its queue. Nothing: none.
[[nodiscard]] std::optional<double> time_limit_s(const std::map<std::string, proto::QueueRules>& queues,
                                                 const proto::SchedulingConfig& scheduling);

}  // namespace rtrain::core
