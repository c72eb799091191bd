#include "daemon/head/event_stream.h"

#include "common/async/gate.h"
#include "daemon/head/documents.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace rtrain::head {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

constexpr std::size_t kChunksMax = 64;  // of 64 KiB: what a slow client may hold in memory
constexpr auto kWriteLimit = 30s;
constexpr auto kKeepAlive = 10s;

/// What the log readers of one stream share with its writer.
struct LogInbox {
  LogInbox(asio::any_io_executor executor, News& stream_news) : room(executor), news(stream_news) {}
  News room;   ///< announced when chunks were taken out
  News& news;  ///< what the writer waits for
  std::deque<proto::LogDoc> chunks;
  int readers = 0;   ///< that still run
  bool closed = false;
};

/// Where to cut a chunk so that no line (and no UTF-8 character) is torn, unless the line is longer than the chunk.
std::size_t whole_lines(const proto::LogData& data) {
  if (data.complete) return data.data.size();
  const auto newline = data.data.rfind('\n');
  return newline == std::string::npos ? data.data.size() : newline + 1;
}

asio::awaitable<void> async_read_rank(std::shared_ptr<LogInbox> inbox, Dispatcher& dispatcher, std::string node, proto::RankKey key) {
  proto::LogRead read;
  read.key = key;
  read.wait_s = 5;
  int lost_answers = 0;
  while (!inbox->closed) {
    const auto session = dispatcher.nodes().session(node);
    Result<proto::LogData> data = fail(Errc::kUnavailable, "away");
    if (session) data = co_await AgentSession::async_read_log(session, read);
    if (data && !data->error.empty()) data = fail(Errc::kNotFound, data->error);
    if (!data) {
      // The agent may come back with the log; once the attempt is over it is not waited for.
      const auto* record = dispatcher.jobs().find(key.job);
      const bool live = record != nullptr && dispatcher.jobs().is_current(key.job, key.attempt);
      if (!live && ++lost_answers > 3) break;
      co_await async::async_sleep(200ms);
      continue;
    }
    const auto size = whole_lines(*data);
    if (size > 0) {
      read.offset = data->offset + static_cast<std::int64_t>(size);
      inbox->chunks.push_back({key.attempt.value(), key.rank, data->offset, data->data.substr(0, size)});
      inbox->news.announce();
    } else if (!data->data.empty()) {
      // A torn line and nothing new: let it grow instead of asking again at once.
      co_await async::async_sleep(50ms);
    }
    if (data->complete && data->at_end) break;
    while (inbox->chunks.size() >= kChunksMax && !inbox->closed) co_await inbox->room.async_wait(1s);
  }
  --inbox->readers;
  inbox->news.announce();
}

/// The sending side of a stream.
class EventWriter {
 public:
  explicit EventWriter(HttpStream& client) : client_(client) {}
  asio::awaitable<bool> async_write(std::string text) {
    client_.expires_after(kWriteLimit);
    auto [ec, size] = co_await asio::async_write(client_, asio::buffer(text), asio::as_tuple(asio::use_awaitable));
    co_return !ec;
  }

 private:
  HttpStream& client_;
};

constexpr std::string_view kHeader =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\nX-Accel-Buffering: no\r\n\r\n";

}  // namespace

asio::awaitable<void> News::async_wait(std::chrono::milliseconds limit) {
  // A timer of its own for the limit would need a second wait; the shared one is simply re-armed: who waits compares anyway.
  if (timer_.expiry() <= std::chrono::steady_clock::now() || timer_.expiry() > std::chrono::steady_clock::now() + limit) timer_.expires_after(limit);
  co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
}

asio::awaitable<void> async_stream_job(HttpStream& client, Dispatcher& dispatcher, News& news, FollowJob follow, const bool& stopping) {
  const auto executor = co_await asio::this_coro::executor;
  EventWriter writer(client);
  async::Gate gate(executor);
  auto inbox = std::make_shared<LogInbox>(executor, news);
  std::uint64_t state_version = 0, progress_version = 0;
  std::int64_t metrics_seen = 0;  // counted from the first point ever
  std::int64_t followed_attempt = 0;
  bool open = co_await writer.async_write(std::string(kHeader));
  auto last_write = std::chrono::steady_clock::now();
  while (open && !stopping) {
    const auto& record = *dispatcher.jobs().find(follow.id);
    const auto& state = record.state;
    if (follow.logs && state.attempt.value() > followed_attempt) {
      followed_attempt = state.attempt.value();
      for (const auto& rank : state.ranks) {
        if (follow.rank >= 0 && rank.placement.rank != follow.rank) continue;
        ++inbox->readers;
        asio::awaitable<void> reader = async_read_rank(inbox, dispatcher, rank.placement.node, {follow.id, state.attempt, rank.placement.rank});
        gate.spawn(std::move(reader));
      }
    }
    const bool over = core::is_terminal(state.phase) && inbox->readers == 0;
    std::string text;
    if (record.state_version != state_version) text += server_sent_event("state", job_doc(record));
    state_version = record.state_version;
    metrics_seen = std::max(metrics_seen, record.metrics_dropped);
    for (int taken = 0; metrics_seen < record.metrics_dropped + static_cast<std::int64_t>(record.metrics.size()) && taken < 1000; ++taken, ++metrics_seen)
      text += server_sent_event("metrics", record.metrics[static_cast<std::size_t>(metrics_seen - record.metrics_dropped)]);
    const bool all_metrics = metrics_seen == record.metrics_dropped + static_cast<std::int64_t>(record.metrics.size());
    if (record.progress_version != progress_version && record.progress) text += server_sent_event("progress", *record.progress);
    progress_version = record.progress_version;
    for (; !inbox->chunks.empty() && text.size() < (1u << 20); inbox->chunks.pop_front()) text += server_sent_event("log", inbox->chunks.front());
    inbox->room.announce();
    const bool done = over && all_metrics && inbox->chunks.empty();
    if (done) text += server_sent_event("end", result_doc(record));
    const auto now = std::chrono::steady_clock::now();
    if (text.empty() && now - last_write >= kKeepAlive) text = ": alive\n\n";
    if (!text.empty()) {
      last_write = now;
      open = co_await writer.async_write(std::move(text));
      if (done) break;
      continue;  // look again: news may have come while the client was written to
    }
    co_await news.async_wait(1s);
  }
  inbox->closed = true;
  inbox->room.announce();
  co_await gate.close();
}

}  // namespace rtrain::head
