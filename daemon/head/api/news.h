// Wakes those who wait for something to change.
#pragma once

#include "common/base/id.h"
#include "common/net/endpoint.h"

#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <memory>
#include <unordered_map>

namespace rtrain::head {

/// Wakes every coroutine that waits. Lost wake-ups cannot happen: all run on one thread and compare versions
/// before they wait.
class News {
 public:
  explicit News(const net::asio::any_io_executor& executor)
      : timer_(executor, net::asio::steady_timer::time_point::max()) {}
  void announce() { timer_.cancel(); }
  /// Until the next announcement, or `limit`.
  net::asio::awaitable<void> async_wait(std::chrono::milliseconds limit);

 private:
  net::asio::steady_timer timer_;
};

/// News by job: who follows one is not woken for the thousand others.
/// @thread the head's.
class JobNews {
 public:
  explicit JobNews(net::asio::any_io_executor executor) : executor_(std::move(executor)) {}
  /// Kept by those who wait; it is gone with the last of them.
  [[nodiscard]] std::shared_ptr<News> of(JobId job);
  void announce(JobId job);
  void announce_all();

 private:
  net::asio::any_io_executor executor_;
  std::unordered_map<JobId, std::weak_ptr<News>> followed_;
};

}  // namespace rtrain::head
