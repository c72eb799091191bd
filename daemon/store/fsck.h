// Looks at a whole state folder: `rtraind fsck STATE_DIR`.
#pragma once

#include "daemon/core/job.h"
#include "daemon/store/stored_specs.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::store {

struct FsckReport {
  std::int64_t jobs = 0, events = 0, points = 0;  ///< that are sound
  std::vector<std::string> problems;              ///< each one line: the place and what is wrong
  std::int64_t sweeps = 0;                        ///< that are sound
  /// each one line, no damage: a sweep whose searcher gives other parameters on this machine
  std::vector<std::string> notes = {};
};

/// Reads everything and changes nothing: the database's integrity and schema, every job's events (they must
/// replay, and lead to the phase that is stored), every sweep's, every record of every metric file against
/// its CRC and the index. kConflict while a head uses the folder; kNotFound: no journal there.
[[nodiscard]] Result<FsckReport> fsck(const std::string& state_dir);

/// "" or what is wrong with a database file as a whole, and whether it is a journal that this program knows.
[[nodiscard]] std::string check_database(const std::string& path, const std::string& state_dir);

/// A job by its events alone, and how many of them replay.
struct ReplayedJob {
  std::optional<core::JobState> state;  ///< after those
  std::int64_t events = 0;
  std::string problem;  ///< of the next one; "" when all do
};
/// @param each  called with each event's text as it is stored, after it was replayed
[[nodiscard]] ReplayedJob replay_job(
    Statement& events_of_job, StoredSpecs& specs, JobId id,
    const std::function<void(std::int64_t at, std::string_view json)>& each = {});
/// What replay_job() steps through: bound by it.
inline constexpr std::string_view kEventsOfJob =
    "SELECT number, at, json FROM events WHERE job=? ORDER BY number";

}  // namespace rtrain::store
