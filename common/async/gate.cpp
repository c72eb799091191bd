#include "common/async/gate.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

namespace rtrain::async {

struct Gate::State {
  State(const asio::any_io_executor& executor, std::function<void(std::exception_ptr)> escape)
      : drained(executor, asio::steady_timer::time_point::max()), on_escape(std::move(escape)) {}
  asio::steady_timer drained;  // never expires: cancelled when the last coroutine ends
  std::function<void(std::exception_ptr)> on_escape;
  std::size_t open = 0;
  bool closed = false;
};

Gate::Gate(asio::any_io_executor executor, std::function<void(std::exception_ptr)> on_escape)
    : state_(std::make_shared<State>(std::move(executor), std::move(on_escape))) {}

Gate::~Gate() {
  state_->closed = true;
  state_->on_escape = nullptr;  // the owner is going: nothing may call it any more
}

bool Gate::spawn(asio::awaitable<void> task) {
  if (state_->closed) return false;
  ++state_->open;
  // The completion holds the state, not the gate: a coroutine that is destroyed with its executor must not
  // touch a dead owner.
  asio::co_spawn(state_->drained.get_executor(), std::move(task),
                 [state = state_](const std::exception_ptr& escaped) {
                   if (escaped && state->on_escape) state->on_escape(escaped);
                   if (--state->open == 0 && state->closed) state->drained.cancel();
                 });
  return true;
}

asio::awaitable<void> Gate::close() {
  const auto state = state_;
  state->closed = true;
  if (state->open > 0) co_await state->drained.async_wait(asio::as_tuple(asio::use_awaitable));
}

std::size_t Gate::open_count() const { return state_->open; }

asio::awaitable<bool> async_sleep(std::chrono::milliseconds duration) {
  asio::steady_timer timer(co_await asio::this_coro::executor, duration);
  const auto [error] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  co_return !error;
}

std::chrono::milliseconds backoff(int failures, std::chrono::milliseconds base, std::chrono::milliseconds cap,
                                  double uniform01) {
  const double ceiling = std::min(static_cast<double>(cap.count()),
                                  static_cast<double>(base.count()) * std::exp2(std::clamp(failures, 0, 62)));
  return std::chrono::milliseconds(static_cast<std::int64_t>(ceiling * std::clamp(uniform01, 0.0, 1.0)));
}

}  // namespace rtrain::async
