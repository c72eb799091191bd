// Server-sent events of one job: its state, metrics, progress and logs, until it ends.
#pragma once

#include "daemon/head/dispatcher.h"
#include "daemon/head/http.h"
#include "daemon/head/routes.h"

namespace rtrain::head {

/// Wakes every coroutine that waits for news of any job. Lost wake-ups cannot happen: all run on one thread and compare versions
/// before they wait.
class News {
 public:
  explicit News(net::asio::any_io_executor executor) : timer_(executor, net::asio::steady_timer::time_point::max()) {}
  void announce() { timer_.cancel(); }
  /// Until the next announcement, or `limit`.
  net::asio::awaitable<void> async_wait(std::chrono::milliseconds limit);

 private:
  net::asio::steady_timer timer_;
};

/// How much of a piece of a log can be shown: whole lines where there is one, else up to the last whole character. All of it when the
/// log is complete. Pure.
[[nodiscard]] std::size_t whole_text(std::string_view text, bool complete);

/// Writes the stream's header and events; returns when the job has ended and its logs are drained, the client is gone, or
/// `stopping` is set. A slow client is not queued for: it gets the newest state when it reads again.
net::asio::awaitable<void> async_stream_job(HttpStream& client, Dispatcher& dispatcher, News& news, FollowJob follow, const bool& stopping);

}  // namespace rtrain::head
