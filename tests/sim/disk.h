// The disk under the head: what is on it survives the head, what was only appended does not.
// Stands where SqliteStore stands (daemon/store): events are committed in batches, a commit takes a while,
// and the head hears of it a moment after it happened. Metric points follow within a second, and before any
// later event of any job. A start replays snapshots and later events through core::advance, cuts off points
// whose event was lost, and folds the last one in.
#pragma once

#include "daemon/store/journal.h"
#include "tests/sim/world.h"

#include <deque>
#include <map>
#include <memory>
#include <variant>

namespace rtrain::sim {

/// What the referee wants to see of what is written.
struct DiskWatch {
  std::function<void(JobId, const proto::StampedEvent&)> event;
  std::function<void(JobId, const proto::MetricPoint&)> point;
  std::function<void(JobId, const proto::StampedSweepEvent&)> sweep_event;
  std::function<void()> committed;  ///< what was appended together is written
  std::function<void(JobId)> cut;   ///< a start has cut points off the end
};

class Disk {
 public:
  struct Job {
    std::vector<proto::StampedEvent> events;
    std::vector<proto::MetricPoint> points;
    std::optional<core::JobState> snapshot;
    std::size_t snapshot_events = 0;  ///< how many events are in it
    // What the events say, kept up to date as they are written.
    std::string name, submission;
    /// the newest attempt that was placed, is to be stopped, has ended
    std::int64_t placed = 0, stopping = 0, over = 0;
    std::set<std::pair<std::int64_t, int>> finished;  ///< (attempt, rank)
    bool cancelled = false, held = false, paused = false;
    std::optional<core::JobPhase> end;
  };
  [[nodiscard]] const Job* find(JobId id) const;
  [[nodiscard]] const std::map<JobId, Job>& jobs() const { return jobs_; }
  struct Sweep {
    std::vector<proto::StampedSweepEvent> events;
    proto::Json row;  ///< null: it has not ended
  };
  [[nodiscard]] const std::map<JobId, Sweep>& sweeps() const { return sweeps_; }
  [[nodiscard]] store::SweepRecord sweep(JobId id) const;
  /// What the next head finds. Cuts off what a crash left half: a point whose report is an event as well that
  /// is not there, and what follows it.
  [[nodiscard]] store::Recovered recover();
  [[nodiscard]] core::JobState state(JobId id) const;
  /// The newest value; null when there is none.
  [[nodiscard]] proto::Json document(const std::string& kind, const std::string& name) const;
  [[nodiscard]] JobId next_job_id() const {
    const auto job = jobs_.empty() ? 0 : jobs_.rbegin()->first.value();
    const auto sweep = sweeps_.empty() ? 0 : sweeps_.rbegin()->first.value();
    return JobId(std::max(job, sweep) + 1);
  }

  void write(JobId id, const proto::StampedEvent& event, std::optional<core::JobState> snapshot);
  void write(JobId id, const proto::MetricPoint& point);
  void write(JobId id, const proto::StampedSweepEvent& event, const proto::Json& row);
  void write(const store::Document& document) {
    documents_.insert_or_assign({document.kind, document.name}, document);
  }

  bool full = false;    ///< nothing can be written at the moment
  double slowness = 1;  ///< factor on the time a commit takes
  bool next_sync_fails = false;
  DiskWatch watch;

 private:
  [[nodiscard]] static core::JobState replayed(JobId id, const Job& job);
  void cut_points(JobId id, Job& job);

  std::map<JobId, Job> jobs_;
  std::map<JobId, Sweep> sweeps_;
  std::map<std::pair<std::string, std::string>, store::Document> documents_;
};

/// One head's view of the disk: dies with it.
class SimJournal final : public store::Journal,
                         public store::History,
                         public std::enable_shared_from_this<SimJournal> {
 public:
  /// @param sync_failed the process must end now; called from an event of its own
  SimJournal(World& world, Disk& disk, std::function<void()> sync_failed);

  [[nodiscard]] JobId next_job_id() const override { return disk_.next_job_id(); }
  void append(JobId id, const proto::StampedEvent& event, const core::JobState& after) override;
  void append(JobId id, const proto::MetricPoint& point) override;
  void append(JobId sweep, const proto::StampedSweepEvent& event, const proto::Json& row) override;
  void put(const store::Document& document) override;
  [[nodiscard]] store::Mark appended() const override { return appended_; }
  [[nodiscard]] store::Mark durable() const override { return durable_; }
  void on_durable(std::function<void()> grown) override { grown_ = std::move(grown); }
  [[nodiscard]] store::Health health() const override;
  /// Keeps all: the referee wants to see it.
  void prune(store::PruneRequest, std::function<void(const store::Pruned&)> told) override {
    told({{}, 0, 0, true, ""});
  }

  [[nodiscard]] Result<std::optional<core::JobState>> ended_job(JobId id) override;
  [[nodiscard]] Result<std::vector<core::JobState>> ended_jobs(JobId before, int limit) override;
  [[nodiscard]] Result<std::vector<JobId>> ended_ids(JobId before, int limit) override;
  [[nodiscard]] Result<std::optional<JobId>> job_of_submission(const std::string& submission) override;
  [[nodiscard]] Result<std::vector<proto::StampedEvent>> events(JobId id, std::int64_t from,
                                                                int limit) override;
  [[nodiscard]] Result<store::MetricPage> metrics(JobId id, std::int64_t from, int limit) override;
  [[nodiscard]] Result<std::optional<store::SweepRecord>> ended_sweep(JobId id) override;
  [[nodiscard]] Result<std::optional<JobId>> sweep_of_submission(const std::string& submission) override;
  [[nodiscard]] Result<std::vector<std::pair<JobId, proto::Json>>> ended_sweeps(JobId before,
                                                                                int limit) override;

  /// The head died: what waits is gone, but for metric points that had reached the disk.
  void crash();
  /// There is room again.
  void disk_changed() { arm(); }

 private:
  struct Event {
    JobId id;
    proto::StampedEvent event;
    std::optional<core::JobState> snapshot;
  };
  struct SweepEvent {
    JobId id;
    proto::StampedSweepEvent event;
    proto::Json row;
  };
  struct Point {
    JobId id;
    proto::MetricPoint point;
  };
  void arm();
  void commit();
  void sync_points(std::int64_t through);
  void tell(store::Mark reached);

  World& world_;
  Disk& disk_;
  std::function<void()> sync_failed_, grown_;
  std::deque<std::variant<Event, SweepEvent, store::Document>> events_;  ///< not on disk yet
  std::deque<Point> points_;
  std::size_t batch_ = 0;  ///< of events_, those of the commit under way
  store::Mark appended_, written_, durable_;
  bool commit_armed_ = false, points_armed_ = false, dead_ = false;
};

}  // namespace rtrain::sim
