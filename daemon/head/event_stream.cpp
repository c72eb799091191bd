#include "daemon/head/event_stream.h"

#include "common/async/gate.h"
#include "daemon/head/documents.h"
#include "daemon/head/durable_wait.h"

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

/// How many bytes of an unfinished UTF-8 character stand at the end.
std::size_t torn_character(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;  // a continuation: its first byte stands further in front
    const std::size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

}  // namespace

std::size_t whole_text(std::string_view text, bool complete) {
  if (complete) return text.size();
  const auto newline = text.rfind('\n');
  return newline == std::string_view::npos ? text.size() - torn_character(text) : newline + 1;
}

namespace {

asio::awaitable<void> async_read_rank(std::shared_ptr<LogInbox> inbox, Dispatcher& dispatcher, std::string node, proto::RankKey key) {
  proto::LogRead read;
  read.key = key;
  read.wait_s = 5;
  int lost_answers = 0;
  while (!inbox->closed) {
    const auto session = dispatcher.nodes().session(node);
    Result<proto::LogData> data = fail(Errc::kUnavailable, "away");
    if (session) {
      asio::awaitable<Result<proto::LogData>> reading = session->async_read_log(read);
      data = co_await std::move(reading);
    }
    const bool no_log = data && !data->error.empty();
    if (!data || no_log) {
      // The agent may come back with the log; once the attempt is over it is not waited for.
      const bool live = dispatcher.jobs().is_current(key.job, key.attempt);
      if (!live && (no_log || ++lost_answers > 3)) break;
      co_await async::async_sleep(200ms);
      continue;
    }
    const auto size = whole_text(data->data, data->complete);
    if (size > 0) {
      read.offset = data->offset + static_cast<std::int64_t>(size);
      inbox->chunks.push_back({key.attempt.value(), key.rank, data->offset, data->data.substr(0, size)});
      inbox->news.announce();
    } else if (!data->data.empty()) {
      // Half a character: let the rest come instead of asking again at once.
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

/// Starts the readers of a job's logs: of each rank once it has a process, of the attempts that pass while the stream is open.
class LogFollower {
 public:
  LogFollower(Dispatcher& dispatcher, async::Gate& gate, std::shared_ptr<LogInbox> inbox, int rank)
      : dispatcher_(dispatcher), gate_(gate), inbox_(std::move(inbox)), rank_(rank) {}

  void look(const core::JobState& state) {
    if (attempt_.value() == 0) attempt_ = state.attempt;  // what came before this stream is not told again
    for (; attempt_ < state.attempt; attempt_ = Attempt(attempt_.value() + 1), started_.clear()) {
      const auto passed = state.nodes.find(attempt_);  // too quick to be seen while it ran: its logs are there all the same
      for (std::size_t rank = 0; passed != state.nodes.end() && rank < passed->second.size(); ++rank) start(state.id, rank, passed->second[rank]);
    }
    for (std::size_t rank = 0; rank < state.ranks.size(); ++rank) {
      const auto& r = state.ranks[rank];
      const bool has_log = r.phase == core::RankPhase::kEnded ? r.pid != 0 : r.phase != core::RankPhase::kPlaced;
      if (has_log) start(state.id, rank, r.placement.node);
    }
  }

 private:
  void start(JobId job, std::size_t rank, const std::string& node) {
    if ((rank_ >= 0 && static_cast<std::size_t>(rank_) != rank) || !started_.insert(rank).second) return;
    ++inbox_->readers;
    asio::awaitable<void> reader = async_read_rank(inbox_, dispatcher_, node, {job, attempt_, static_cast<int>(rank)});
    gate_.spawn(std::move(reader));
  }

  Dispatcher& dispatcher_;
  async::Gate& gate_;
  std::shared_ptr<LogInbox> inbox_;
  int rank_;  ///< -1: all
  Attempt attempt_{0};
  std::set<std::size_t> started_;  ///< ranks of attempt_
};

constexpr std::string_view kHeader =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\nX-Accel-Buffering: no\r\n\r\n";

}  // namespace

asio::awaitable<void> News::async_wait(std::chrono::milliseconds limit) {
  // A timer of its own for the limit would need a second wait; the shared one is simply re-armed: who waits compares anyway.
  if (timer_.expiry() <= std::chrono::steady_clock::now() || timer_.expiry() > std::chrono::steady_clock::now() + limit) timer_.expires_after(limit);
  co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
}

namespace {

/// The points after the first `seen`, at most 1,000; from the store where memory has them no more. How many were added.
std::int64_t add_metrics(std::string& text, store::History& history, const JobRecord& record, std::int64_t seen) {
  constexpr int kPageMax = 1000;
  if (seen < record.metrics_dropped) {
    const auto page = history.metrics(record.state.id, seen, static_cast<int>(std::min<std::int64_t>(kPageMax, record.metrics_dropped - seen)));
    if (!page) return record.metrics_dropped - seen;  // pruned: what is left follows
    for (const auto& point : page->points) text += server_sent_event("metrics", point);
    return static_cast<std::int64_t>(page->points.size());
  }
  std::int64_t added = 0;
  for (auto at = static_cast<std::size_t>(seen - record.metrics_dropped); at < record.metrics.size() && added < kPageMax; ++at, ++added)
    text += server_sent_event("metrics", record.metrics[at]);
  return added;
}

}  // namespace

asio::awaitable<void> async_stream_job(HttpStream& client, Dispatcher& dispatcher, News& news, FollowJob follow, const bool& stopping) {
  const auto executor = co_await asio::this_coro::executor;
  EventWriter writer(client);
  async::Gate gate(executor);
  auto inbox = std::make_shared<LogInbox>(executor, news);
  LogFollower follower(dispatcher, gate, inbox, follow.rank);
  std::uint64_t state_version = 0, progress_version = 0;
  std::int64_t metrics_seen = 0;  // counted from the first point ever
  bool open = co_await writer.async_write(std::string(kHeader));
  auto last_write = std::chrono::steady_clock::now();
  while (open && !stopping) {
    const auto* found = dispatcher.jobs().find(follow.id);
    if (found == nullptr) break;  // pruned meanwhile
    const auto& record = *found;
    const auto& state = record.state;
    if (follow.logs) follower.look(state);
    const bool over = core::is_terminal(state.phase) && inbox->readers == 0;
    std::string text;
    if (record.state_version != state_version) text += server_sent_event("state", job_doc(record));
    state_version = record.state_version;
    metrics_seen += add_metrics(text, dispatcher.jobs().history(), record, metrics_seen);
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
      bool durable = co_await async_durable(dispatcher.gate(), 1s);
      while (!durable && !stopping) durable = co_await async_durable(dispatcher.gate(), 1s);
      if (!durable) break;
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
