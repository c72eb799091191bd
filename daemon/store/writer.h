// The one thread that writes: it has the only writing connection, commits what was queued while it wrote, and
// syncs metric files.
#pragma once

#include "daemon/store/ballast.h"
#include "daemon/store/database.h"
#include "daemon/store/job_numbers.h"
#include "daemon/store/journal.h"
#include "daemon/store/pruner.h"
#include "daemon/store/segment_files.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <thread>
#include <unordered_map>
#include <variant>

namespace rtrain::store {

/// What was appended in one go on the head's thread. Becomes durable as a whole, but for the points, which
/// may be so before.
struct Batch {
  struct Event {
    JobId id;
    proto::StampedEvent event;
    std::unique_ptr<core::JobState>
        snapshot;  ///< when one is due; of a job that ended, always. Without its spec, which is stored apart
  };
  struct SweepEvent {
    JobId id;
    proto::StampedSweepEvent event;
    proto::Json row;  ///< of a sweep that this event ends, else null
  };
  struct Points {
    std::string records;  ///< not sealed
    std::int64_t count = 0;
    std::size_t last_at = 0;
  };
  std::vector<std::variant<Event, SweepEvent, Document>> records;
  std::unordered_map<JobId, Points> points;
  Mark count;
};

/// A point is durable so long after it was appended, when the disk is quick.
inline constexpr std::chrono::milliseconds kPointsDelay{700};

/// @thread the head's, but for what is said of single functions.
class Writer {
 public:
  struct Start {
    std::unique_ptr<Database> database;  ///< open_journal()
    std::unique_ptr<SegmentFiles> segments;
    std::unordered_map<JobId, std::int64_t> next_event;  ///< numbers of the next events of the jobs that live
    JobNumbers numbers;
    std::int64_t next_id = 1;
    std::string state_dir;
    std::int64_t ballast_bytes = 0;
    std::function<void()> progressed;  ///< called on the writer's thread: durable() or health() changed
  };
  [[nodiscard]] static Result<std::unique_ptr<Writer>> start(Start start);
  /// Writes what is queued and closes the journal. On a full disk what is queued is lost: nobody was told of
  /// it.
  ~Writer();

  void queue(Batch batch);
  /// `told` is called on the writer's thread.
  void prune(PruneRequest request, std::function<void(Pruned)> told);
  [[nodiscard]] Mark durable() const;   ///< @thread any
  [[nodiscard]] Health health() const;  ///< @thread any
  /// The files at the end of a job's metrics. @thread any
  [[nodiscard]] std::vector<SegmentRow> durable_segments(JobId id) const {
    return start_.segments->durable(id);
  }

 private:
  using Clock = std::chrono::steady_clock;
  explicit Writer(Start start);
  [[nodiscard]] Result<Done> prepare();
  void run();
  void take(std::vector<Batch> batches);
  /// True when everything is written; false after a lack: what is left stays for the next time.
  bool write();
  [[nodiscard]] Result<Done> write_points();
  [[nodiscard]] Result<Done> commit();
  [[nodiscard]] Result<Done> store(const Batch::Event& event);
  [[nodiscard]] Result<Done> store(const Batch::SweepEvent& event);
  /// The number of the next event of a job or sweep, which it takes.
  [[nodiscard]] Result<std::int64_t> take_event_number(JobId id);
  /// The spec of a job that is new, where no other job of its array has stored it.
  [[nodiscard]] Result<Done> store_spec(std::int64_t number, const proto::SharedSpec& spec);
  [[nodiscard]] Result<Done> store(const Document& document);
  [[nodiscard]] Result<Done> store_rows();
  [[nodiscard]] Result<Done> checkpoint();
  /// Of two kinds of failure: goes on with false after a lack that passes (disk_error.h), ends the process
  /// else.
  bool survived(const Result<Done>& done);
  void close();
  void publish();
  void set_health(Health health);
  void look_after_space();
  /// A step of the request under way, or of the next one; with none, of making the file smaller.
  void prune_some();
  void shrink_some();

  Start start_;
  Statement insert_event_, insert_job_, insert_spec_, has_spec_, update_job_, put_document_, drop_document_,
      put_segment_, last_event_, insert_sweep_, end_sweep_;
  Ballast ballast_;
  Pruner pruner_;
  std::function<void(Pruned)> pruned_;  ///< who asked for what is under way
  // What is being written.
  std::vector<std::variant<Batch::Event, Batch::SweepEvent, Document>> records_;
  std::unordered_map<JobId, Batch::Points> points_;
  Mark taken_, written_;
  Clock::time_point oldest_point_{};  ///< that is not durable
  Clock::time_point space_looked_{};
  bool full_ = false;            ///< writing failed for a lack and was not tried again with success
  bool short_of_files_ = false;  ///< the lack was of file descriptors
  std::string why_;              ///< of the last lack
  int wal_pages_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable queued_;
  std::vector<Batch> queue_;  ///< guarded by mutex_, as what follows
  struct PruneCall {
    PruneRequest request;
    std::function<void(Pruned)> told;
  };
  std::deque<PruneCall> prunes_;
  bool stopping_ = false;
  Mark durable_;
  Health health_;
  std::thread thread_;
};

}  // namespace rtrain::store
