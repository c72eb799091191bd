// A database that recover reads jobs from, and that may be broken anywhere.
#pragma once

#include "daemon/core/job.h"
#include "daemon/store/database.h"
#include "daemon/store/stored_specs.h"
#include "daemon/store/stored_sweeps.h"

#include <array>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::store {

/// A job as one database has it.
struct FoundJob {
  std::optional<core::JobState> state;
  /// at, json; from event 0 on, as far as they replay
  std::vector<std::pair<std::int64_t, std::string>> events;
  std::string problem;  ///< why that is not all; "" it is, as far as the database knows
  /// The job ended: its state is of its snapshot and whole, and `events` are only the begin of what led
  /// there.
  bool by_snapshot = false;

  [[nodiscard]] bool ended() const { return state && core::is_terminal(state->phase); }
  [[nodiscard]] bool whole() const { return state && problem.empty() && !by_snapshot; }
  /// A job that ended is known further than one that did not; of two such jobs that one whose history is
  /// longer.
  [[nodiscard]] bool goes_further_than(const FoundJob& other) const;
};

/// Which jobs a database has.
struct FoundIds {
  std::set<JobId> jobs;  ///< in the table of jobs
  std::set<JobId> in_events;
  std::set<JobId> sweeps;   ///< in the table of sweeps, as far as it can be read
  bool jobs_whole = false;  ///< that table, or an index of it, was read to its end and is in order
  bool events_whole = false;
};

/// @thread one at a time.
class RecoverSource {
 public:
  /// nullptr: SQLite does not open it, or its schema is not that of a journal.
  [[nodiscard]] static std::unique_ptr<RecoverSource> open(const std::string& path);

  [[nodiscard]] FoundJob job(JobId id);
  /// Nothing: the events of that number, if there are any, are not those of a sweep.
  [[nodiscard]] std::optional<FoundSweep> sweep(JobId id);
  /// What a list shows of a sweep that ended; "" when it is not known.
  [[nodiscard]] std::string row_of_sweep(JobId id);
  [[nodiscard]] FoundIds ids();
  /// True: the log that belongs to it is gone. @param has_log  its file was there before this was opened
  [[nodiscard]] bool lacks_log(bool has_log);
  /// kind, name, value
  [[nodiscard]] Result<std::vector<std::array<std::string, 3>>> documents();

 private:
  RecoverSource(std::unique_ptr<Database> database, Statement events, Statement snapshot, StoredSpecs specs)
      : db_(std::move(database)),
        events_(std::move(events)),
        snapshot_(std::move(snapshot)),
        specs_(std::move(specs)) {}
  void look_at_snapshot(JobId id, FoundJob& found);
  /// True: read to the end, in order. @param sql  selects what the rows are ordered by, then the job
  [[nodiscard]] bool read_ids(std::string_view sql, std::set<JobId>& into);

  std::unique_ptr<Database> db_;
  Statement events_, snapshot_;
  StoredSpecs specs_;
};

}  // namespace rtrain::store
