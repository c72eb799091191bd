// All jobs of the head: their states, metrics and order. Events come in, are journalled, and effects and changes go out. No sockets.
#pragma once

#include "daemon/core/job.h"
#include "daemon/head/job_tally.h"
#include "daemon/store/journal.h"

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <set>
#include <unordered_map>

namespace rtrain::head {

struct JobRecord {
  core::JobState state;
  std::deque<proto::MetricPoint> metrics;   ///< the newest kMetricPointsMax; the others are in the store
  std::int64_t metrics_dropped = 0;         ///< how many came before those
  std::optional<proto::ProgressDoc> progress;
  std::uint64_t state_version = 0, progress_version = 0;  ///< grow with every change; streams compare them
};

inline constexpr std::size_t kMetricPointsMax = 1000;
/// Ended jobs that stay in memory; older ones are read from the store when somebody asks.
inline constexpr std::size_t kEndedJobsMax = 1000;
inline constexpr std::size_t kArchivedMax = 256;

/// @thread the head's.
class JobBook {
 public:
  using ActionSink = std::function<void(JobId, const core::Action&)>;
  using ChangeSink = std::function<void(JobId)>;
  struct Store { store::Journal& journal; store::History& history; };
  /// `origin` tells the run folders of this head from those of others that write below the same storage_path; "" where there are none.
  JobBook(Store store, ActionSink act, ChangeSink changed, std::string origin = {});

  /// Takes the jobs that the store found, before anything else is called. Events that were due when the head died are applied
  /// (not their actions: who recovers looks at the states). `ended`: how many jobs that are not among them had ended so.
  void recover(std::vector<core::JobState> jobs, const std::map<core::JobPhase, std::int64_t>& ended, proto::UnixMs now);

  /// Gives the job its number and run folder and puts it into the queue; of an array all jobs, and the first one's number comes back.
  /// kUnavailable when more than `queue_max` jobs would wait, or when the store takes no writes.
  [[nodiscard]] Result<JobId> submit(proto::JobSpec spec, proto::UnixMs now, int queue_max, const std::string& user = {});
  /// Applies an event and what follows from it by policy, journals them, then hands on the actions. kNotFound, kConflict: nothing
  /// changed.
  [[nodiscard]] Result<Done> apply(JobId id, proto::JobEvent event, proto::UnixMs now);
  /// Jobs that have ended, and of which the store knows nothing any more.
  void forget(const store::Pruned& pruned);
  void set_progress(JobId id, Attempt attempt, proto::ProgressDoc progress);

  /// Null when there is no such job. An ended job may be read from the store: the record is good until kArchivedMax others were.
  [[nodiscard]] const JobRecord* find(JobId id) const;
  /// In memory: all that live, and the last kEndedJobsMax that ended.
  [[nodiscard]] const std::map<JobId, JobRecord>& all() const { return jobs_; }
  /// Jobs that have an attempt: STARTING, RUNNING or STOPPING.
  [[nodiscard]] const std::set<JobId>& active() const { return active_; }
  /// Jobs that are QUEUED.
  [[nodiscard]] const std::set<JobId>& queued() const { return queued_; }
  [[nodiscard]] const JobTally& tally() const { return tally_; }
  /// Of all jobs, since the head started.
  [[nodiscard]] const proto::FailureCounts& failures() const { return failures_; }
  /// A copy of queued(): jobs may leave it meanwhile.
  [[nodiscard]] std::vector<JobId> queue() const;
  [[nodiscard]] bool is_current(JobId id, Attempt attempt) const;
  [[nodiscard]] store::History& history() const { return store_.history; }

 private:
  void enter(JobId id, proto::JobSpec spec, proto::UnixMs now, const std::string& user, std::optional<proto::ArrayTask> array);
  void journal(const JobRecord& record, const proto::StampedEvent& event);
  void keep_metrics(JobRecord& record, const proto::MetricsReported& report, proto::UnixMs now);
  /// `before`: nothing of a job that is new here.
  void sort_by_phase(const core::JobState& state, std::optional<core::JobPhase> before);

  Store store_;
  std::string origin_;
  std::int64_t next_id_;
  ActionSink act_;
  ChangeSink changed_;
  std::map<JobId, JobRecord> jobs_;
  std::set<JobId> queued_;  ///< the QUEUED ones; a retried job keeps its place
  std::set<JobId> active_;
  JobTally tally_;
  proto::FailureCounts failures_;
  std::deque<JobId> ended_;  ///< in memory, oldest first
  mutable std::list<JobRecord> archived_;  ///< read from the store, newest use first
  mutable std::unordered_map<JobId, std::list<JobRecord>::iterator> archived_by_id_;
};

/// "<name>_<YYYY-MM-DD_HH-MM-SS>_<id>-<origin>" in UTC.
[[nodiscard]] std::string run_name(const std::string& name, proto::UnixMs now, JobId id, const std::string& origin);

}  // namespace rtrain::head
