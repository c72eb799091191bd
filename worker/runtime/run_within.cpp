#include "worker/runtime/run_within.h"

#include <future>
#include <stdexcept>
#include <thread>
#include <utility>

namespace rtrain::runtime {

void run_within(std::chrono::milliseconds limit, const std::string& too_late, std::function<void()> work) {
  // No std::async: its future waits in the destructor.
  std::packaged_task<void()> task(std::move(work));
  auto done = task.get_future();
  std::thread thread(std::move(task));
  if (done.wait_for(limit) == std::future_status::timeout) {
    thread.detach();
    throw std::runtime_error(too_late);
  }
  thread.join();
  done.get();
}

}  // namespace rtrain::runtime
