// No coroutine outlives its owner.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <memory>

namespace rtrain::async {

namespace asio = boost::asio;

/// Owns the coroutines that an object starts. close() waits for all of them; the owner cancels what they wait
/// for first. An exception that escapes a coroutine is a bug: it goes to `on_escape` (logged by the owner).
/// @thread one executor.
class Gate {
 public:
  explicit Gate(asio::any_io_executor executor, std::function<void(std::exception_ptr)> on_escape = {});
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  /// False once closed (the task is not started).
  bool spawn(asio::awaitable<void> task);
  asio::awaitable<void> close();
  [[nodiscard]] std::size_t open_count() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Suspends for `duration` on the steady clock; returns early and false when the coroutine's timer is
/// cancelled.
asio::awaitable<bool> async_sleep(std::chrono::milliseconds duration);

/// Full-jitter exponential back-off (AWS architecture blog, 2015): uniform in [0, min(cap, base * 2^n)].
/// Pure.
[[nodiscard]] std::chrono::milliseconds backoff(int failures, std::chrono::milliseconds base,
                                                std::chrono::milliseconds cap, double uniform01);

}  // namespace rtrain::async
