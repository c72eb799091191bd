// The metric files that are being written: one open end a job, synced when the journal needs it.
#pragma once

#include "daemon/store/disk_sync.h"
#include "daemon/store/segment.h"

#include <list>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

namespace rtrain::store {

/// Errors: those of disk_error.h; after a lack nothing was changed: try again.
/// @thread the writer's, but for durable().
class SegmentFiles {
 public:
  struct Options {
    DiskSync& disk = forced_to_disk();
    std::size_t open_max = 1024;  ///< file descriptors; fewer when the process is out of them
    std::int64_t segment_bytes = kSegmentBytes;
  };
  SegmentFiles(std::string state_dir, Options options);
  ~SegmentFiles();
  SegmentFiles(const SegmentFiles&) = delete;
  SegmentFiles& operator=(const SegmentFiles&) = delete;

  /// A job that was found at the start goes on behind the last of `rows`; in a new file when that one is
  /// damaged.
  void adopt(JobId id, const std::vector<SegmentRow>& rows, bool damaged = false);
  /// Writes sealed records. `last_at`: where the last one begins in them.
  [[nodiscard]] Result<Done> append(JobId id, std::string_view records, std::int64_t points,
                                    std::size_t last_at);
  /// Makes durable what was written, of these jobs at least.
  [[nodiscard]] Result<Done> sync(const std::set<JobId>& jobs);
  [[nodiscard]] Result<Done> sync_all();
  [[nodiscard]] bool dirty() const { return !dirty_.empty(); }
  /// The job has ended and its rows are stored.
  void forget(JobId id);
  /// Deletes the files of a job that is forgotten, and its folder. What cannot be deleted is logged and
  /// stays.
  void remove(JobId id);

  /// Rows that the index does not have yet; only of what is durable.
  [[nodiscard]] const std::map<std::pair<JobId, std::int64_t>, SegmentRow>& rows() const { return rows_; }
  /// True when a start would have to read much behind the rows that are stored.
  [[nodiscard]] bool rows_wanted() const { return unindexed_bytes_ > kUnindexedBytesMax; }
  void rows_stored();

  /// The files at a job's end as far as they are durable: those that the index may not have yet, by number.
  /// @thread any
  [[nodiscard]] std::vector<SegmentRow> durable(JobId id) const;

 private:
  static constexpr std::int64_t kUnindexedBytesMax = 4 << 20;
  /// Above so many files one syncfs() is cheaper.
  static constexpr std::size_t kSingleSyncsMax = 32;
  struct Tail {
    SegmentRow written, durable;
    bool damaged = false;  ///< nothing more goes into this file
    int fd = -1;
    std::list<JobId>::iterator used;  ///< in open_, when fd >= 0
  };
  [[nodiscard]] Result<Done> open(JobId id, Tail& tail);
  [[nodiscard]] Result<Done> start_segment(JobId id, Tail& tail);
  [[nodiscard]] Result<int> open_file(const std::string& path, int flags);
  [[nodiscard]] Result<Done> close_oldest();
  [[nodiscard]] Result<Done> sync_file(JobId id, Tail& tail);
  [[nodiscard]] Result<Done> sync_folders();
  void is_durable(JobId id, Tail& tail);
  void show(JobId id);
  void close(Tail& tail);

  std::string state_dir_;
  Options options_;
  std::unordered_map<JobId, Tail> tails_;
  std::list<JobId> open_;         ///< least recently written first
  std::set<JobId> dirty_;         ///< written, or begun, and not durable
  std::set<std::string> new_in_;  ///< folders with new entries
  std::map<std::pair<JobId, std::int64_t>, SegmentRow> rows_;
  std::int64_t unindexed_bytes_ = 0;
  mutable std::mutex mutex_;
  std::unordered_map<JobId, std::vector<SegmentRow>> durable_;  ///< guarded by mutex_
};

}  // namespace rtrain::store
