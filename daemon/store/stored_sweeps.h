// Sweeps as the journal has them: their events, read back and replayed.
#pragma once

#include "daemon/store/database.h"
#include "daemon/store/journal.h"

#include <utility>

namespace rtrain::store {

/// A sweep by its events, as far as they replay.
struct FoundSweep {
  std::optional<SweepRecord> record;                         ///< nothing: not even the first event does
  std::vector<std::pair<std::int64_t, std::string>> events;  ///< at, json; those that replay
  std::string problem;                                       ///< of the next one; "" when all do
  /// Suggestions that the searcher of this program does not give when it is asked again; what is stored
  /// counts. By the last bit of exp() they may differ on another machine.
  std::vector<std::int64_t> other_suggestions;
};

/// What replay_stored_sweep() steps through: bound by it.
inline constexpr std::string_view kEventsOfSweep =
    "SELECT number, at, json FROM events WHERE job=? ORDER BY number";

enum class SearchAgain { kNo, kYes };
/// `again`: whether the searcher is asked beside the replay, which takes milliseconds a trial.
[[nodiscard]] FoundSweep replay_stored_sweep(Statement& events_of_sweep, JobId id,
                                             SearchAgain again = SearchAgain::kNo);

/// Whether events under this number are those of a sweep: their first one is.
[[nodiscard]] Result<bool> is_sweep(Statement& events_of_sweep, JobId id);

/// What fsck notes of other_suggestions; "" where there are none.
[[nodiscard]] std::string other_suggestions(const FoundSweep& found);

}  // namespace rtrain::store
