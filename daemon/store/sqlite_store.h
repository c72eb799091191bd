// The head's durable store: job events, snapshots and documents in SQLite, metric points in files of their
// job.
#pragma once

#include "daemon/store/journal.h"
#include "daemon/store/stored_specs.h"
#include "daemon/store/writer.h"

#include <boost/asio/any_io_executor.hpp>

#include <atomic>

namespace rtrain::store {

struct StoreOptions {
  std::string state_dir;
  std::int64_t ballast_bytes = 64 << 20;  ///< kept to be freed when the disk is full; 0: none
  /// False: nothing is forced to the disk, and a power cut may lose it all. For a head that ends with the
  /// process that asked for it.
  bool sync = true;
};

/// @thread the head's.
class SqliteStore final : public Journal, public History {
 public:
  /// Opens or makes the journal of a state folder, which the caller holds the lock of, and reads back what
  /// lives. Errors: those of open_journal() and recover_journal(), each with the way out.
  [[nodiscard]] static Result<std::unique_ptr<SqliteStore>> open(boost::asio::any_io_executor executor,
                                                                 StoreOptions options);
  /// Stores what was appended and closes the journal.
  ~SqliteStore() override;

  /// What the start found; once.
  [[nodiscard]] Recovered take_recovered() { return std::move(recovered_); }

  [[nodiscard]] JobId next_job_id() const override { return JobId(next_id_); }
  void append(JobId id, const proto::StampedEvent& event, const core::JobState& after) override;
  void append(JobId id, const proto::MetricPoint& point) override;
  void append(JobId sweep, const proto::StampedSweepEvent& event, const proto::Json& row) override;
  void put(const Document& document) override;
  [[nodiscard]] Mark appended() const override { return appended_; }
  [[nodiscard]] Mark durable() const override { return durable_; }
  void on_durable(std::function<void()> grown) override { grown_ = std::move(grown); }
  [[nodiscard]] Health health() const override { return writer_->health(); }
  void prune(PruneRequest request, std::function<void(const Pruned&)> told) override;

  [[nodiscard]] Result<std::optional<core::JobState>> ended_job(JobId id) override;
  [[nodiscard]] Result<std::vector<core::JobState>> ended_jobs(JobId before, int limit) override;
  [[nodiscard]] Result<std::vector<JobId>> ended_ids(JobId before, int limit) override;
  [[nodiscard]] Result<std::optional<JobId>> job_of_submission(const std::string& submission) override;
  [[nodiscard]] Result<std::vector<proto::StampedEvent>> events(JobId id, std::int64_t from,
                                                                int limit) override;
  [[nodiscard]] Result<MetricPage> metrics(JobId id, std::int64_t from, int limit) override;
  [[nodiscard]] Result<std::optional<SweepRecord>> ended_sweep(JobId id) override;
  [[nodiscard]] Result<std::optional<JobId>> sweep_of_submission(const std::string& submission) override;
  [[nodiscard]] Result<std::vector<std::pair<JobId, proto::Json>>> ended_sweeps(JobId before,
                                                                                int limit) override;

 private:
  /// What handlers of the executor and the writer's thread hold: the store may be gone when they run.
  struct Link;
  SqliteStore(boost::asio::any_io_executor executor, StoreOptions options);
  [[nodiscard]] Result<Done> prepare();
  [[nodiscard]] Result<core::JobState> state_of(JobId id, std::string_view snapshot);
  [[nodiscard]] core::JobState unreadable(JobId id, std::string_view phase, const Error& why);
  [[nodiscard]] Result<std::optional<JobId>> submitted_with(Statement& statement,
                                                            const std::string& submission);
  [[nodiscard]] Result<std::vector<SegmentRow>> segments(JobId id);
  [[nodiscard]] Result<MetricPage> read_metrics(JobId id, const std::vector<SegmentRow>& rows,
                                                std::int64_t from, int limit) const;
  void hand_over_soon();
  void hand_over();
  void tell();

  StoreOptions options_;
  std::shared_ptr<Link> link_;
  Recovered recovered_;
  std::unordered_map<JobId, std::int64_t> since_snapshot_;  ///< events of the jobs that live
  std::int64_t next_id_ = 1;
  Batch batch_;  ///< appended and not handed to the writer yet
  bool handing_over_ = false;
  Mark appended_, durable_;
  std::function<void()> grown_;
  std::unique_ptr<Database> reader_;
  std::set<JobId> unreadable_;  ///< ended jobs that were logged as such
  Statement ended_job_, ended_jobs_, ended_ids_, events_, segments_, submission_, ended_sweep_, ended_sweeps_,
      all_events_, submission_of_sweep_;
  StoredSpecs specs_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace rtrain::store
