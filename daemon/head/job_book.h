// All jobs of the head: their states, metrics and order. Events come in, effects and changes go out. No sockets.
#pragma once

#include "daemon/core/job.h"
#include "daemon/head/job_ids.h"
#include "proto/api/api.h"

#include <deque>
#include <functional>
#include <map>
#include <set>

namespace rtrain::head {

struct JobRecord {
  core::JobState state;
  std::deque<proto::MetricPoint> metrics;   ///< the newest kMetricPointsMax
  std::int64_t metrics_dropped = 0;         ///< older points that are gone
  std::optional<proto::ProgressDoc> progress;
  std::string wait_reason;                  ///< of a queued job, from the last plan
  std::uint64_t state_version = 0, progress_version = 0;  ///< grow with every change; streams compare them
};

inline constexpr std::size_t kMetricPointsMax = 1'000'000;

/// @thread the head's.
class JobBook {
 public:
  using ActionSink = std::function<void(JobId, const core::Action&)>;
  using ChangeSink = std::function<void(JobId)>;
  JobBook(JobIds ids, ActionSink act, ChangeSink changed) : ids_(std::move(ids)), act_(std::move(act)), changed_(std::move(changed)) {}

  /// Gives the job its number and run folder and puts it into the queue. kUnavailable when `queue_max` jobs wait.
  [[nodiscard]] Result<JobId> submit(proto::JobSpec spec, proto::UnixMs now, int queue_max);
  /// Applies an event and what follows from it by policy, then hands on the actions. kNotFound, kConflict: nothing changed.
  [[nodiscard]] Result<Done> apply(JobId id, proto::JobEvent event, proto::UnixMs now);
  void set_progress(JobId id, Attempt attempt, proto::ProgressDoc progress);
  void set_wait_reason(JobId id, const std::string& reason);

  [[nodiscard]] const JobRecord* find(JobId id) const;
  [[nodiscard]] const std::map<JobId, JobRecord>& all() const { return jobs_; }
  /// Jobs that are QUEUED, in order of submission.
  [[nodiscard]] std::vector<JobId> queue() const;
  [[nodiscard]] bool is_current(JobId id, Attempt attempt) const;

 private:
  JobIds ids_;
  ActionSink act_;
  ChangeSink changed_;
  std::map<JobId, JobRecord> jobs_;
  std::set<JobId> queued_;  ///< the QUEUED ones; a retried job keeps its place
};

/// "<name>_<YYYY-MM-DD_HH-MM-SS>_<id>" in UTC.
[[nodiscard]] std::string run_name(const std::string& name, proto::UnixMs now, JobId id);

}  // namespace rtrain::head
