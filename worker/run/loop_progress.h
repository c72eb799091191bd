// The progress of a loop, counted in stages so that a resumed run continues at exactly the same point.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>

namespace rtrain {

/// ready: fetched; started: its start hooks ran; processed: its work is done; completed: its end hooks ran.
struct StageCounts {
  std::int64_t ready = 0, started = 0, processed = 0, completed = 0;
  friend bool operator==(const StageCounts&, const StageCounts&) = default;
};

/// Counts over the whole fit (total), and since the enclosing loop last restarted (current).
struct LoopProgress {
  StageCounts total, current;
  void increment_ready() { ++total.ready, ++current.ready; }
  void increment_started() { ++total.started, ++current.started; }
  void increment_processed() { ++total.processed, ++current.processed; }
  void increment_completed() { ++total.completed, ++current.completed; }
  /// Discards what was begun but not processed, so that it is repeated. What was processed does not repeat
  /// its end hooks.
  void rewind_to_processed() {
    for (auto* p : {&total, &current}) p->ready = p->started = p->completed = p->processed;
  }
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StageCounts, ready, started, processed, completed)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LoopProgress, total, current)

}  // namespace rtrain
