// Server-sent events of one job: its state, metrics, progress and logs, until it ends.
#pragma once

#include "daemon/head/api/http.h"
#include "daemon/head/api/news.h"
#include "daemon/head/api/routes.h"
#include "daemon/head/dispatcher.h"

namespace rtrain::head {

/// Writes the stream's header and events; returns when the job has ended and its logs are drained, the client
/// is gone or has not read a byte for 30 s, or `stopping` is set. A slow client is not queued for: it gets
/// the newest state when it reads again, and metrics and logs from where it is. Events that tell a state, a
/// point or a piece of a log have the position after them as their id.
net::asio::awaitable<void> async_stream_job(HttpStream& client, Dispatcher& dispatcher, JobNews& news,
                                            FollowJob follow, const bool& stopping);

}  // namespace rtrain::head
