// How far the host may run ahead of a GPU.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>

namespace rtrain::data {

/// A host that only queues work can be as many batches ahead of its GPU as fit into the driver's queue, and
/// each keeps its memory until the GPU is done with it. advance() is called before each new batch with an
/// event that stands behind all work queued so far, and waits for the one of kBatches calls before: of what
/// was queued by then, nothing holds memory any more. kBatches are enough to keep a GPU busy, so the wait
/// costs no time on the GPU.
/// `Event`: movable, with synchronize(), as c10::Event. @thread any
template <class Event>
class Lead {
 public:
  static constexpr std::size_t kBatches = 8;

  void advance(Event queued) {
    std::optional<Event> oldest(std::move(queued));
    {
      const std::lock_guard lock(mutex_);
      std::swap(ring_[next_], oldest);
      next_ = (next_ + 1) % kBatches;
    }
    if (oldest) oldest->synchronize();  // outside the lock: other threads go on
  }

 private:
  std::mutex mutex_;
  std::array<std::optional<Event>, kBatches> ring_{};
  std::size_t next_ = 0;
};

}  // namespace rtrain::data
