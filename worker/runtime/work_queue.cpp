#include "worker/runtime/work_queue.h"

#include "worker/runtime/block_signals.h"

#include <algorithm>
#include <utility>

namespace rtrain::runtime {

WorkQueue::~WorkQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void WorkQueue::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    auto item = std::move(waiting_.front());
    waiting_.pop_front();
    current_ = item.name;
    busy_ = true;
    lock.unlock();
    std::exception_ptr failure;
    try {
      item.work();
    } catch (...) {
      failure = std::current_exception();
    }
    item.work = nullptr;  // what it holds goes before the next one is asked for
    lock.lock();
    busy_ = false;
    current_.clear();
    if (failure) {
      waiting_.clear();
      if (!error_) error_ = failure;
    }
    changed_.notify_all();
  }
}

void WorkQueue::add(Item item) {
  waiting_.push_back(std::move(item));
  if (!thread_.joinable()) {
    thread_ = std::thread([this] {
      block_signals();
      run();
    });
  }
  changed_.notify_all();
}

bool WorkQueue::has_room() const {
  if (!busy_ && waiting_.empty()) return true;
  return std::count_if(waiting_.begin(), waiting_.end(),
                       [](const Item& item) { return !item.name.empty(); }) < waiting_max_;
}

void WorkQueue::throw_kept() {
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void WorkQueue::wait_for_room() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return error_ || has_room(); });
  throw_kept();
}

void WorkQueue::push(std::string name, Work work) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return error_ || has_room(); });
  throw_kept();
  add({std::move(name), std::move(work)});
}

void WorkQueue::push_small(Work work) {
  const std::lock_guard lock(mutex_);
  if (!error_) add({{}, std::move(work)});
}

bool WorkQueue::contains(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return current_ == name ||
         std::any_of(waiting_.begin(), waiting_.end(), [&](const Item& item) { return item.name == name; });
}

bool WorkQueue::idle() const {
  const std::lock_guard lock(mutex_);
  return !busy_ && waiting_.empty();
}

bool WorkQueue::wait(std::optional<std::chrono::milliseconds> limit) {
  std::unique_lock lock(mutex_);
  const auto done = [&] { return !busy_ && waiting_.empty(); };
  bool in_time = true;
  if (limit)
    in_time = changed_.wait_for(lock, *limit, done);
  else
    changed_.wait(lock, done);
  throw_kept();
  return in_time;
}

void WorkQueue::throw_error() {
  const std::lock_guard lock(mutex_);
  throw_kept();
}

std::exception_ptr WorkQueue::take_error() {
  const std::lock_guard lock(mutex_);
  return std::exchange(error_, nullptr);
}

}  // namespace rtrain::runtime
