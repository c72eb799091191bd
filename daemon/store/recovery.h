// What a start finds on the disk: the jobs that live, as they were when the last head stored its last event.
#pragma once

#include "daemon/store/database.h"
#include "daemon/store/journal.h"
#include "daemon/store/segment_files.h"

#include <unordered_map>

namespace rtrain::store {

struct Recovery {
  Recovered found;
  std::unordered_map<JobId, std::int64_t> next_event;      ///< of the jobs that live
  std::unordered_map<JobId, std::int64_t> since_snapshot;  ///< how many events came after the snapshot
  std::int64_t next_id = 1;                                ///< above every number in the database
};

/// Replays the events after each snapshot, cuts torn ends off the metric files and lets `segments` go on
/// behind them. kIo names the job whose events do not replay, and the way out.
[[nodiscard]] Result<Recovery> recover_journal(Database& database, const std::string& state_dir,
                                               SegmentFiles& segments);

/// The end of a job's metric files: what the index says, and what lies behind it.
struct MetricTail {
  /// the last that the index knows, and what was found behind it; empty: there are no points
  std::vector<SegmentRow> rows;
  std::optional<proto::MetricPoint> last;  ///< the last point
  bool damaged = false;                    ///< the last file is not as long as the index says
};
/// @param state  by its events: a report that is also an event, and whose event is not there, is not taken;
/// nothing behind it either
[[nodiscard]] Result<MetricTail> recover_tail(const std::string& state_dir, const core::JobState& state,
                                              SegmentRow row);

}  // namespace rtrain::store
