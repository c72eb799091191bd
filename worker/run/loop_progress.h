// Where a loop stands, counted in stages so that a resumed run goes on exactly there.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>

namespace rtrain {

/// ready: fetched; started: its start hooks ran; processed: its work is done; completed: its end hooks ran.
struct StageCounts {
  std::int64_t ready = 0, started = 0, processed = 0, completed = 0;
  friend bool operator==(const StageCounts&, const StageCounts&) = default;
};

/// Over the whole fit, and since the loop around it began anew.
struct LoopProgress {
  StageCounts total, current;
  void increment_ready() { ++total.ready, ++current.ready; }
  void increment_started() { ++total.started, ++current.started; }
  void increment_processed() { ++total.processed, ++current.processed; }
  void increment_completed() { ++total.completed, ++current.completed; }
  /// What was begun and not processed is begun again; what was processed needs no more of its end hooks.
  void rewind_to_processed() {
    for (auto* p : {&total, &current}) p->ready = p->started = p->completed = p->processed;
  }
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StageCounts, ready, started, processed, completed)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LoopProgress, total, current)

}  // namespace rtrain
