// All jobs of the head: their states, metrics and order. Events come in and are journalled; what must be done
// about them comes back as values. No sockets.
#pragma once

#include "daemon/core/job.h"
#include "daemon/head/jobs/job_tally.h"
#include "daemon/head/jobs/spec_memory.h"
#include "daemon/store/journal.h"

#include <deque>
#include <list>
#include <map>
#include <set>
#include <unordered_map>

namespace rtrain::head {

struct JobRecord {
  core::JobState state;
  std::deque<proto::MetricPoint> metrics;  ///< the newest kMetricPointsMax, and of large ones
                                           ///< kMetricBytesMax; the others are in the store
  std::int64_t metric_bytes = 0;           ///< memory of those
  std::int64_t metrics_dropped = 0;        ///< how many came before those
  std::optional<proto::ProgressDoc> progress;
  std::uint64_t state_version = 0, progress_version = 0;  ///< grow with every change; streams compare them
};

inline constexpr std::size_t kMetricPointsMax = 1000;
inline constexpr std::int64_t kMetricBytesMax = 4 << 20;
/// Ended jobs that stay in memory; older ones are read from the store when somebody asks.
inline constexpr std::size_t kEndedJobsMax = 1000;
inline constexpr std::size_t kArchivedMax = 256;
/// So many stay whatever they take: the head relies on what it has just looked at.
inline constexpr std::size_t kEndedJobsMin = 16, kArchivedMin = 16;
/// Memory of the specs and metrics of ended jobs, of either kind; fewer of the jobs stay when theirs are
/// larger.
inline constexpr std::int64_t kEndedBytesMax = 64 << 20;

/// How much may wait.
struct QueueRoom {
  int jobs = 10'000;  ///< that are QUEUED
  std::int64_t spec_bytes =
      512ll << 20;  ///< memory of the specs of all jobs that have not ended; an array's counts once
};

/// What changes to jobs ask of the rest of the head.
struct Applied {
  struct Due {
    JobId id;
    core::Action action;
  };
  std::vector<Due> actions;    ///< in the order in which they are due
  std::vector<JobId> touched;  ///< jobs that are not what they were
};

/// Calls nobody back: what follows from a change is added to `applied`, which the caller works off (Turn).
/// @thread the head's.
class JobBook {
 public:
  struct Store {
    store::Journal& journal;
    store::History& history;
  };
  /// `origin` tells the run folders of this head from those of others that write below the same storage_path;
  /// "" where there are none.
  explicit JobBook(Store store, std::string origin = {});

  /// Takes the jobs that the store found, before anything else is called. Events that were due when the head
  /// died are applied (not their actions: who recovers looks at the states). `ended`: how many jobs that are
  /// not among them had ended so.
  void recover(std::vector<core::JobState> jobs, const std::map<core::JobPhase, std::int64_t>& ended,
               proto::UnixMs now);

  /// Gives the job its number and run folder and puts it into the queue; of an array all jobs, and the first
  /// one's number comes back. kUnavailable when there is no room for it, or when the store takes no writes.
  /// `submission`: see submitted_before(). `validates`, `sweep`: of a job that is no array.
  [[nodiscard]] Result<JobId> submit(proto::JobSpec spec, proto::UnixMs now, const QueueRoom& room,
                                     Applied& applied, const std::string& user = {},
                                     const std::string& submission = {},
                                     std::optional<proto::ValidatedCheckpoint> validates = std::nullopt,
                                     std::optional<proto::SweepTrial> sweep = std::nullopt);
  /// A number from the counter of the jobs, for something that is none.
  [[nodiscard]] JobId take_number() { return JobId(next_id_++); }
  /// The job, of an array the first one, that was submitted with this key; nothing when there is none.
  /// kConflict: that was another spec, or another user's.
  [[nodiscard]] Result<std::optional<JobId>> submitted_before(const std::string& submission,
                                                              const proto::JobSpec& spec,
                                                              const std::string& user) const;
  /// Applies an event and what follows from it by policy, and journals them. kNotFound, kConflict: nothing
  /// changed, and nothing is added to `applied`.
  [[nodiscard]] Result<Done> apply(JobId id, proto::JobEvent event, proto::UnixMs now, Applied& applied);
  /// Jobs that have ended, and of which the store knows nothing any more.
  void forget(const store::Pruned& pruned);
  /// False: the attempt is not the job's current one, and nothing changed.
  bool set_progress(JobId id, Attempt attempt, proto::ProgressDoc progress);

  /// Null when there is no such job. An ended job may be read from the store: the record is good until
  /// kArchivedMin others were.
  [[nodiscard]] const JobRecord* find(JobId id) const;
  /// In memory: all that live, and the last kEndedJobsMax that ended.
  [[nodiscard]] const std::map<JobId, JobRecord>& all() const { return jobs_; }
  /// Jobs that have an attempt: STARTING, RUNNING or STOPPING.
  [[nodiscard]] const std::set<JobId>& active() const { return active_; }
  /// Jobs that are VALIDATING.
  [[nodiscard]] const std::set<JobId>& validating() const { return validating_; }
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
  [[nodiscard]] bool has_indices(JobId first, const std::vector<int>& indices) const;
  void enter(JobId id, const proto::SharedSpec& spec, proto::UnixMs now, Applied& applied,
             const std::string& user, std::optional<proto::ArrayTask> array, const std::string& submission,
             std::optional<proto::ValidatedCheckpoint> validates = std::nullopt,
             std::optional<proto::SweepTrial> sweep = std::nullopt);
  void journal(const JobRecord& record, const proto::StampedEvent& event);
  void keep_metrics(JobRecord& record, const proto::MetricsReported& report, proto::UnixMs now);
  void drop_old();
  /// Drops an ended job from memory.
  void drop(JobId id);
  void drop_archived(std::list<JobRecord>::iterator record) const;
  /// Brings what is indexed by phase up to date. `before`: nothing of a job that is new here.
  void reindex(const core::JobState& state, std::optional<core::JobPhase> before);

  Store store_;
  std::string origin_;
  std::int64_t next_id_;
  std::map<JobId, JobRecord> jobs_;
  std::set<JobId> queued_;  ///< the QUEUED ones; a retried job keeps its place
  std::set<JobId> active_, validating_;
  JobTally tally_;
  proto::FailureCounts failures_;
  struct Ended {
    JobId id;
    store::Mark stored;
  };  ///< its end is durable when the store has come to that mark
  std::deque<Ended> ended_;  ///< in memory, oldest first
  std::int64_t ended_metric_bytes_ = 0;
  SpecMemory living_specs_, ended_specs_;
  mutable SpecMemory archived_specs_;
  std::map<std::string, JobId> submissions_;  ///< of the jobs in memory, by the key of their submit
  mutable std::list<JobRecord> archived_;     ///< read from the store, newest use first
  mutable std::unordered_map<JobId, std::list<JobRecord>::iterator> archived_by_id_;
};

/// "<name>_<YYYY-MM-DD_HH-MM-SS>_<id>-<origin>" in UTC.
[[nodiscard]] std::string run_name(const std::string& name, proto::UnixMs now, JobId id,
                                   const std::string& origin);

}  // namespace rtrain::head
