// The field `queues` of head.json: names of queues and their rules.
#pragma once

#include "proto/jobspec/jobspec.h"

#include <map>
#include <optional>
#include <string>

namespace rtrain::proto {

/// So much at a time. Absent: no bound.
struct Quota {
  std::optional<double> gpus_max, cpus_max;  ///< held by jobs that run; >= 0
  std::optional<int> jobs_max;               ///< jobs that run; >= 0
  friend bool operator==(const Quota&, const Quota&) = default;
};

struct QueueRules {
  double weight = 1;  ///< of its fair share; 0.001..1e6
  int priority = 0;   ///< added to that of its jobs; -1000..1000
  Quota queue;        ///< of all its jobs: gpus_max, cpus_max, jobs_max
  /// of each user's jobs in it: user_gpus_max, user_cpus_max, user_jobs_max
  Quota user;
  std::optional<double> time_limit_default_s;  ///< of jobs that give none; > 0
  /// a submit above is refused; jobs without one get it when there is no default; > 0
  std::optional<double> time_limit_max_s;
  std::optional<int> max_priority;  ///< a submit above is refused; -1000..1000
  friend bool operator==(const QueueRules&, const QueueRules&) = default;
};

using Queues = std::map<std::string, QueueRules>;

/// Reads the field. Times are numbers of seconds or texts as in a job file ("2h"). The error names the queue
/// and the key, and the nearest key where it is unknown.
[[nodiscard]] Result<Queues> read_queues(const Json& document);
[[nodiscard]] Json to_json(const Queues& queues);

}  // namespace rtrain::proto
