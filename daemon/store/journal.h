// What the head must not forget: written here before anyone is told of it, read back at the next start.
// Two implementations: SqliteStore (sqlite_store.h) and the simulation's disk. The head names only these
// interfaces.
#pragma once

#include "daemon/core/job.h"
#include "daemon/core/sweep/sweep.h"
#include "proto/api/api.h"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace rtrain::store {

/// How much has been appended, or is durable: counts of records since the store was opened.
/// Events and metric points become durable apart: an event at once (group commit), a point within
/// kPointsDelay. A point that was appended before an event of the same job is durable before that event is.
/// Events and documents that one handler appends become durable together: after a crash all of them are
/// there, or none. So an array is submitted as a whole, and never in part.
struct Mark {
  std::int64_t events = 0;  ///< job events and documents
  std::int64_t points = 0;  ///< metric points
  friend bool operator==(const Mark&, const Mark&) = default;
  /// True when everything up to `other` is within this mark.
  [[nodiscard]] bool covers(const Mark& other) const {
    return events >= other.events && points >= other.points;
  }
};

/// A small thing that outlives the head and is no event of a job: what an operator said of a node, a
/// reservation, how much a queue has used. The newest value of each kind and name counts.
struct Document {
  std::string kind;  ///< "node", "reservation", "usage", ...: who writes a kind reads it
  std::string name;
  proto::Json value;  ///< null: there is none any more
};

/// Which of the jobs that ended are to be forgotten: those beyond either limit.
struct PruneRequest {
  std::optional<proto::UnixMs> ended_before_ms;
  std::optional<std::int64_t> keep_jobs;  ///< so many of those that ended last stay; at least 0
  std::set<JobId> spared;                 ///< stay all the same
  bool dry_run = false;                   ///< only says what would go
};

/// How far a request to prune has come.
struct Pruned {
  std::vector<JobId> gone;                               ///< since the last call; none on a dry run
  std::int64_t jobs = 0, bytes = 0;                      ///< so far: of events, snapshots and metrics
  bool over = false;                                     ///< nothing more comes
  std::string problem;                                   ///< why it is over before its end; "" else
  std::map<core::JobPhase, std::int64_t> ended_as = {};  ///< how many of `gone` had ended so
  std::vector<JobId> sweeps_gone = {};                   ///< since the last call; none on a dry run
  std::int64_t sweeps = 0;                               ///< so far: those that ended no later than the jobs
};

/// Whether the store takes writes at the moment.
struct Health {
  bool writable = true;
  std::string why;  ///< "no space left in /var/lib/rtrain/head (12 MiB free)"; "" when writable
};

/// @thread one executor, the head's; callbacks come there. Nothing here waits for a disk.
class Journal {
 public:
  virtual ~Journal() = default;
  /// The number of the next job; above every number ever appended. JobBook counts on from it.
  [[nodiscard]] virtual JobId next_job_id() const = 0;
  /// `after` is the state that the event led to: the store keeps it as a snapshot when the job has ended, or
  /// when many events passed.
  virtual void append(JobId id, const proto::StampedEvent& event, const core::JobState& after) = 0;
  virtual void append(JobId id, const proto::MetricPoint& point) = 0;
  /// An event of a sweep, whose number is from the counter of the jobs. `row`: with the event that ends it,
  /// what ended_sweeps() gives of it from then on; null with every other.
  virtual void append(JobId sweep, const proto::StampedSweepEvent& event, const proto::Json& row) = 0;
  virtual void put(const Document& document) = 0;
  [[nodiscard]] virtual Mark appended() const = 0;
  [[nodiscard]] virtual Mark durable() const = 0;
  /// Called each time durable() has grown. One callback; set once.
  virtual void on_durable(std::function<void()> grown) = 0;
  /// A full disk makes it unwritable until there is room: what was appended waits and is written then. A
  /// failed fsync is not survived: the process ends (exit 74, EX_IOERR) and the next start replays what is on
  /// disk.
  [[nodiscard]] virtual Health health() const = 0;
  /// Removes events, snapshots and metrics of jobs that have ended and are durable, a few at a time beside
  /// other work; their numbers stay used, and what they wrote below their storage_path is not touched. `told`
  /// is called after each step, perhaps before this returns; never after the store is gone. One request after
  /// the other.
  virtual void prune(PruneRequest request, std::function<void(const Pruned&)> told) = 0;
};

/// A sweep by its events.
struct SweepRecord {
  core::SweepState state;
  proto::UnixMs submitted_ms = 0, ended_ms = 0;  ///< 0: it has not
};

/// Where a page of a job's metric points begins: after so many points, counted over all attempts.
struct MetricPage {
  std::vector<proto::MetricPoint> points;
  std::int64_t next = 0;  ///< where the next page begins
  bool more = false;      ///< there is a next page
};

/// A page of metrics ends with the point that brings it to so much.
inline constexpr std::size_t kMetricPageBytes = 4u << 20;

/// Reading back. Sees what is durable. May read a file or a page of the database: milliseconds.
class History {
 public:
  virtual ~History() = default;
  /// A job that ended; nothing when there is none of that number (never was, lives, or was pruned).
  [[nodiscard]] virtual Result<std::optional<core::JobState>> ended_job(JobId id) = 0;
  /// Ended jobs below `before`, newest first, at most `limit`.
  [[nodiscard]] virtual Result<std::vector<core::JobState>> ended_jobs(JobId before, int limit) = 0;
  /// Their numbers alone.
  [[nodiscard]] virtual Result<std::vector<JobId>> ended_ids(JobId before, int limit) = 0;
  /// The job that a request with this key submitted; of an array its first one. Nothing: none that is stored.
  [[nodiscard]] virtual Result<std::optional<JobId>> job_of_submission(const std::string& submission) = 0;
  /// Events of any job, oldest first, from number `from` (0: the first).
  [[nodiscard]] virtual Result<std::vector<proto::StampedEvent>> events(JobId id, std::int64_t from,
                                                                        int limit) = 0;
  [[nodiscard]] virtual Result<MetricPage> metrics(JobId id, std::int64_t from, int limit) = 0;
  /// A sweep that ended, by all its events: some milliseconds for a thousand trials. Nothing: there is none
  /// of that number.
  [[nodiscard]] virtual Result<std::optional<SweepRecord>> ended_sweep(JobId id) = 0;
  /// The sweep that a request with this key submitted. Nothing: none that is stored.
  [[nodiscard]] virtual Result<std::optional<JobId>> sweep_of_submission(const std::string& submission) = 0;
  /// The rows of ended sweeps below `before` by number, newest first, at most `limit`.
  [[nodiscard]] virtual Result<std::vector<std::pair<JobId, proto::Json>>> ended_sweeps(JobId before,
                                                                                        int limit) = 0;
};

/// A record that a start could not read. It stays on the disk as it is; the head works without it.
struct SetAside {
  JobId job;         ///< 0: a document; of a sweep its number
  std::string what;  ///< "job 7", "sweep 8", "document node a"
  std::string why;
};

/// What a start finds.
struct Recovered {
  /// those that have not ended, by number; reports, last_seq and metrics taken from the points
  std::vector<core::JobState> jobs;
  std::vector<SweepRecord> sweeps = {};               ///< those that have not ended, by number
  std::vector<Document> documents = {};               ///< by kind and name
  std::map<core::JobPhase, std::int64_t> ended = {};  ///< how many have ended so
  std::vector<SetAside> set_aside = {};
  proto::UnixMs newest_ms = 0;  ///< the newest time that is stored of a job; 0: there is none
};

}  // namespace rtrain::store
