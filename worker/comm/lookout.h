// Where this rank is, told to the others when it has not moved for a while.
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

/// A rank that has not moved for so long writes where it is into the job's store.
inline constexpr std::chrono::milliseconds kStill{1000};

/// A thread that looks at the pulse. It connects to the store when there is something to tell first.
class Lookout {
 public:
  using Connect = std::function<std::unique_ptr<runtime::KeyValueStore>()>;
  Lookout(const runtime::Pulse& pulse, int rank, int world_size, Connect connect);
  ~Lookout();
  Lookout(const Lookout&) = delete;
  Lookout& operator=(const Lookout&) = delete;

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
