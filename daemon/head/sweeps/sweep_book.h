// All sweeps of the head: their states and what they have used. Events come in and are journalled. No
// decisions, no jobs.
#pragma once

#include "daemon/head/jobs/job_book.h"

#include <list>

namespace rtrain::head {

struct SweepEntry {
  core::SweepState state;
  proto::UnixMs submitted_ms = 0, ended_ms = 0;  ///< 0: it has not
  double gpu_s = 0;                              ///< GPU-seconds of the attempts of its jobs that have ended
};

/// Ended sweeps that stay in memory; others are read from the store when somebody asks.
inline constexpr std::size_t kEndedSweepsMax = 4;

/// @thread the head's.
class SweepBook {
 public:
  explicit SweepBook(JobBook::Store store) : store_(store) {}

  /// Takes what the store found, before anything else is called.
  void recover(std::vector<store::SweepRecord> sweeps, const std::vector<store::Document>& documents);

  /// A sweep with this number begins.
  void submit(JobId id, proto::SweepSubmitted event, proto::UnixMs now);
  /// Applies the event and journals it; with the one that ends the sweep goes what a list shows of it.
  /// kNotFound, kConflict: nothing changed.
  [[nodiscard]] Result<Done> apply(JobId id, proto::SweepEvent event, proto::UnixMs now);
  /// Of an attempt that has ended; durable together with what the same turn appends.
  void charge(JobId id, double gpu_s);

  /// Null: there is no such sweep that has not ended. Good until the sweep ends.
  [[nodiscard]] const SweepEntry* live(JobId id) const;
  /// One that ended, too; it may be read from the store. Null: there is none. Good until kEndedSweepsMax
  /// others were asked for. kIo: its events cannot be read back.
  [[nodiscard]] Result<const SweepEntry*> find(JobId id) const;
  /// Those that have not ended, by number.
  [[nodiscard]] const std::map<JobId, SweepEntry>& all_live() const { return live_; }
  /// The sweep that was submitted with this key; good as of find(). Null: there is none.
  [[nodiscard]] Result<const SweepEntry*> submitted_with(const std::string& submission) const;
  /// SweepDocs of those that ended below `before`, newest first, at most `limit`.
  [[nodiscard]] Result<std::vector<std::pair<JobId, proto::Json>>> ended(JobId before, int limit) const;
  /// Sweeps of which the store knows nothing any more.
  void forget(const std::vector<JobId>& gone);

 private:
  struct Ended {
    SweepEntry entry;
    store::Mark stored;  ///< its end is durable when the store has come to that mark
  };
  const SweepEntry& keep_ended(Ended ended) const;

  JobBook::Store store_;
  std::map<JobId, SweepEntry> live_;
  mutable std::list<Ended> ended_;                  ///< newest use first
  mutable std::map<JobId, proto::Json> made_rows_;  ///< of ended sweeps that have none in the store
};

}  // namespace rtrain::head
