// Publishes where this rank is once it has not moved for a while.
#pragma once

#include "worker/runtime/key_value_store.h"
#include "worker/runtime/pulse.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace rtrain::comm {

/// How long a rank may stay at one place before it writes its whereabouts to the job's store.
inline constexpr std::chrono::milliseconds kStallAfter{1000};

/// A thread that watches the pulse. It connects to the store when it first has something to publish.
class StallPublisher {
 public:
  using Connect = std::function<std::unique_ptr<runtime::KeyValueStore>()>;
  StallPublisher(const runtime::Pulse& pulse, int rank, int world_size, Connect connect);
  ~StallPublisher();
  StallPublisher(const StallPublisher&) = delete;
  StallPublisher& operator=(const StallPublisher&) = delete;

 private:
  void run();
  const runtime::Pulse& pulse_;
  int rank_, world_size_;
  Connect connect_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace rtrain::comm
