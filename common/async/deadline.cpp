#include "common/async/deadline.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace rtrain::async {

namespace asio = boost::asio;

asio::awaitable<bool> async_within(std::chrono::milliseconds limit, asio::awaitable<void> work) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer timer(co_await asio::this_coro::executor, limit);
  const auto first = co_await (std::move(work) || timer.async_wait(asio::use_awaitable));
  co_return first.index() == 0;
}

}  // namespace rtrain::async
