// The jobs that have a place: what they hold, and when they give it back at the latest. Pure.
#pragma once

#include "daemon/core/node_index.h"
#include "daemon/core/queue_order.h"

#include <set>
#include <unordered_map>

namespace rtrain::core {

/// A job with an attempt, as the scheduler is told of it.
struct RunningJob {
  WaitingJob job;
  std::vector<proto::RankPlacement> ranks;
  proto::UnixMs placed_ms = 0;
  bool stopping = false;          ///< it is ending: yields, was cancelled, failed
  proto::UnixMs stops_by_ms = 0;  ///< then it has ended
  bool resizing = false;          ///< it yields and comes back with another number of workers
};

/// What is held on one node.
struct Hold {
  NodeId node = 0;
  int workers = 0;
  std::vector<int> gpus;
};

struct Running {
  int ask = 0, account = 0, priority = 0, workers = 0;
  bool preemptible = true;
  proto::UnixMs grace_ms = 0, placed_ms = 0, ends_ms = kNever;
  proto::UnixMs resize_interval_ms = 0;
  std::vector<Hold> holds;
  bool stopping = false, resizing = false;
};

class RunningJobs {
 public:
  void add(JobId id, Running running);
  void remove(JobId id);
  /// It gives its place back by then.
  void stop(JobId id, proto::UnixMs by_ms, bool resizing);
  /// Takes back what stop() did.
  void unstop(JobId id, proto::UnixMs ends_ms);

  [[nodiscard]] const Running* find(JobId id) const;
  [[nodiscard]] const std::unordered_map<JobId, Running>& all() const { return all_; }
  /// Those that end some time, earliest first.
  [[nodiscard]] const std::set<std::pair<proto::UnixMs, JobId>>& by_end() const { return by_end_; }
  [[nodiscard]] const std::set<JobId>& stopping() const { return stopping_; }
  [[nodiscard]] const std::set<JobId>& elastic() const { return elastic_; }  ///< those that may grow
  /// Those that may be preempted, by priority, the youngest first.
  struct Age {
    proto::UnixMs placed_ms;
    JobId id;
    friend bool operator<(const Age& a, const Age& b) {
      return a.placed_ms != b.placed_ms ? a.placed_ms > b.placed_ms : a.id > b.id;
    }
  };
  [[nodiscard]] const std::map<int, std::set<Age>>& preemptible() const { return preemptible_; }
  void set_elastic(JobId id) { elastic_.insert(id); }

 private:
  void index(JobId id, const Running& running);
  void unindex(JobId id, const Running& running);
  std::unordered_map<JobId, Running> all_;
  std::set<std::pair<proto::UnixMs, JobId>> by_end_;
  std::set<JobId> stopping_, elastic_;
  std::map<int, std::set<Age>> preemptible_;
};

}  // namespace rtrain::core
