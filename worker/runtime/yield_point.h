// Where a rank makes way when the job is asked for its place: at the same step on every rank, without a
// collective.
#pragma once

#include "worker/runtime/key_value_store.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

namespace rtrain::runtime {

/// Counts the steps of this rank, and the parts of a step that goes through several (the batches of a
/// validation). A place is both, in one number that orders them. All ranks pass the same places in the same
/// order, as far apart as they like. Nothing but an addition a step until somebody asks. Then each rank
/// freezes: it says which place it has not left yet, and waits there; all of them stop at the furthest of
/// these places (agree_to_yield), so nobody is behind it and nobody waits inside a step.
class YieldPoint {
 public:
  using Place = std::uint64_t;

  /// Before the next step begins. True: this rank stops here. @thread the training thread.
  [[nodiscard]] bool next_step() {
    return leave(((steps_ + 1) << kPartBits) - (steps_ << kPartBits) - parts_, true);
  }
  /// Before the next part of this step begins.
  [[nodiscard]] bool next_part() { return leave(1, false); }

  /// From now on the training thread leaves no place before settle(). @return the place where it is, or will
  /// be next. @thread any other.
  [[nodiscard]] Place freeze();
  /// Everybody stops at this place.
  void settle(Place place);
  [[nodiscard]] bool asked() const { return (word_.load(std::memory_order_relaxed) & kAsked) != 0; }
  /// The training thread was told to stop.
  [[nodiscard]] bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

 private:
  static constexpr int kPartBits = 24;
  static constexpr Place kAsked = Place{1} << 63;
  bool leave(Place distance, bool step) {
    const Place word = word_.fetch_add(distance);
    if (step)
      ++steps_, parts_ = 0;
    else
      ++parts_;
    return (word & kAsked) != 0 && stops_at(word & ~kAsked);
  }
  [[nodiscard]] bool stops_at(Place place);

  std::atomic<Place> word_{0};
  std::atomic<bool> stopped_{false};
  Place steps_ = 0, parts_ = 0;  // the training thread's own
  std::mutex mutex_;
  std::condition_variable settled_;
  std::optional<Place> stop_;
};

/// Of this process.
[[nodiscard]] YieldPoint& yield_point();

/// The furthest of all ranks' frozen places, over the job's store. Keys: "yield/<rank>", "yield/at".
/// `wait_more()` pauses and is called between looks; false gives up. @return nothing: not all ranks have said
/// where they are.
[[nodiscard]] std::optional<YieldPoint::Place> agree_to_yield(KeyValueStore& store, int rank, int world_size,
                                                              YieldPoint::Place mine,
                                                              const std::function<bool()>& wait_more);

}  // namespace rtrain::runtime
