// A time limit on a coroutine.
#pragma once

#include <boost/asio/awaitable.hpp>

#include <chrono>

namespace rtrain::async {

/// Runs `work` and cancels it (terminal cancellation) when `limit` has passed. Waits for its end in either
/// case. True when it ended by itself in time. `work` must not throw: give its operations asio::as_tuple, and
/// hand its outcome over through something it owns a share of.
boost::asio::awaitable<bool> async_within(std::chrono::milliseconds limit, boost::asio::awaitable<void> work);

}  // namespace rtrain::async
