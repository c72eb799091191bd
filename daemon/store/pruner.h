// Removes jobs that ended from the journal, a few at a time, so that what is being written never waits long
// for it.
#pragma once

#include "daemon/store/database.h"
#include "daemon/store/journal.h"
#include "daemon/store/segment_files.h"

#include <chrono>

namespace rtrain::store {

/// One request at a time. Rows go in a transaction, then the files of the same jobs; what a crash leaves
/// between is removed by the next start. Both limits of a request are of the same order, by the time of the
/// end: so what goes is a prefix of it.
/// @thread the writer's
class Pruner {
 public:
  /// The database and the files must outlive it. Removes the files that a crash has left.
  [[nodiscard]] Result<Done> prepare(Database& database, SegmentFiles& segments);
  [[nodiscard]] Result<Done> begin(PruneRequest request);
  [[nodiscard]] bool busy() const { return busy_; }
  /// After a request that removed jobs: whether the file may hold more free pages than it needs.
  [[nodiscard]] bool may_shrink() const { return may_shrink_; }
  /// Gives at most kPagesAtOnce free pages back to the disk, the last ones of the file; an eighth of it stays
  /// free for the next jobs. Errors as of step(); it is not tried again before the next request.
  [[nodiscard]] Result<Done> shrink();
  static constexpr std::int64_t kPagesAtOnce = 128;
  /// Takes the next jobs, for about kStepMax. Errors are those of the database: nothing was removed by this
  /// step.
  [[nodiscard]] Result<Pruned> step();
  /// Leaves the rest. How far it came.
  Pruned stop() {
    busy_ = false;
    return {.gone = {}, .jobs = jobs_, .bytes = bytes_, .over = true, .problem = "", .sweeps = sweeps_};
  }

 private:
  struct Candidate {
    JobId id;
    std::int64_t ended = 0, bytes = 0;
    std::optional<core::JobPhase> phase;
    std::int64_t spec = 0;
  };
  [[nodiscard]] Result<std::vector<Candidate>> next();
  [[nodiscard]] Result<std::int64_t> bytes_of(JobId id);
  /// Those that ended no later than the last job that was due, until `until`; then `pruned` is not over.
  [[nodiscard]] Result<Done> take_sweeps(Pruned& pruned, std::chrono::steady_clock::time_point until);
  [[nodiscard]] Result<Done> remove_rows(const std::vector<JobId>& ids, const std::set<std::int64_t>& specs);

  Database* database_ = nullptr;
  SegmentFiles* segments_ = nullptr;
  Statement next_, event_bytes_, segment_bytes_, spec_bytes_, drop_job_, drop_spec_, drop_events_,
      drop_segments_, next_sweep_, drop_sweep_, note_;
  PruneRequest request_;
  bool busy_ = false, may_shrink_ = false;
  std::int64_t left_ = 0;          ///< so many are still to be looked at
  std::int64_t last_ended_ = 0;    ///< no job that ended later goes
  std::int64_t sweeps_until_ = 0;  ///< sweeps that ended no later go
  Candidate at_;                   ///< the last one that was looked at
  JobId sweep_at_;                 ///< the last sweep that was looked at
  std::int64_t jobs_ = 0, sweeps_ = 0, bytes_ = 0;
};

}  // namespace rtrain::store
