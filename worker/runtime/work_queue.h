// Work that one thread does beside the training, in the order in which it was given.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace rtrain::runtime {

/// The thread starts with the first work, so after a fork, and takes no signals. Work that throws is the last
/// that is done: what waits behind it may rest on it and is given up. The first exception is kept until
/// somebody gets it, then work is taken again.
/// @thread any; the work runs on the thread inside.
class WorkQueue {
 public:
  using Work = std::function<void()>;

  /// @param waiting_max how much of what has a name may wait beside what is being done; 0 or more
  explicit WorkQueue(int waiting_max) : waiting_max_(waiting_max) {}
  /// Does what waits, then ends.
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  /// Waits until push(name, work) would not. @throws the exception that is kept.
  void wait_for_room();
  /// Waits for room. @param name what contains() is asked for; not empty.
  /// @throws the exception that is kept; `work` is dropped then.
  void push(std::string name, Work work);
  /// Takes no room and never waits. Dropped where an exception is kept.
  void push_small(Work work);
  [[nodiscard]] bool contains(const std::string& name) const;
  [[nodiscard]] bool idle() const;
  /// Waits until all is done. @return false: not within the limit. @throws the exception that is kept.
  bool wait(std::optional<std::chrono::milliseconds> limit = std::nullopt);
  void throw_error();
  /// Null: there is none.
  [[nodiscard]] std::exception_ptr take_error();

 private:
  struct Item {
    std::string name;
    Work work;
  };
  void run();
  void add(Item item);  // with the lock held
  [[nodiscard]] bool has_room() const;
  void throw_kept();

  int waiting_max_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> waiting_;
  std::string current_;
  bool busy_ = false, stopping_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace rtrain::runtime
