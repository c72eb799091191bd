#include "daemon/head/api/event_stream.h"

#include "daemon/head/api/documents.h"
#include "daemon/head/api/durable_wait.h"
#include "daemon/head/api/log_follower.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <deque>
#include <iterator>

namespace rtrain::head {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

constexpr std::size_t kTextMax = 128u << 10;  // of events that are written at once; one more may follow
constexpr int kPointsMax = 1000;              // read from the store at once
constexpr auto kWriteLimit = 30s;             // for a client to take anything at all
constexpr auto kKeepAlive = 10s;
// why a job waits may change with every pass; nobody reads faster
constexpr auto kReasonEvery = 2s;

constexpr std::string_view kHeader =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: "
    "close\r\nX-Accel-Buffering: no\r\n\r\n";

/// False when the client is gone, or takes nothing any more.
asio::awaitable<bool> async_write(HttpStream& client, std::string text) {
  for (std::size_t written = 0; written < text.size();) {
    client.expires_after(kWriteLimit);
    auto [ec, size] =
        co_await client.async_write_some(asio::buffer(text) + written, asio::as_tuple(asio::use_awaitable));
    if (ec) co_return false;
    written += size;
  }
  co_return true;
}

/// One stream: what has been told, and what there is to tell.
class JobStream {
 public:
  JobStream(Dispatcher& dispatcher, const FollowJob& follow, LogFollower& logs)
      : dispatcher_(dispatcher), follow_(follow), logs_(logs), metrics_(follow.from.metrics) {}

  /// The events that are due, as far as they fit; "" none. `over` becomes true with the last one.
  std::string take(const JobRecord& record, bool& over) {
    std::string text;
    if (follow_.logs) logs_.look(record.state);
    // before the pieces are taken: those of a reader's end are in
    const bool ended = core::is_terminal(record.state.phase) && logs_.drained();
    const bool changed = record.state_version != state_version_ || has_new_reason(record.state);
    if (changed) text += state_event(record);
    state_version_ = record.state_version;
    const bool all_metrics = add_metrics(text, record);
    if (record.progress_version != progress_version_ && record.progress)
      text += server_sent_event("progress", *record.progress);
    progress_version_ = record.progress_version;
    while (text.size() < kTextMax) {
      const auto piece = logs_.take();
      if (!piece) break;
      text += server_sent_event("log", *piece, position());
    }
    over = ended && all_metrics && logs_.empty();
    if (over) text += server_sent_event("end", result_doc(record));
    return text;
  }

 private:
  [[nodiscard]] std::string position() {
    auto position = follow_.logs ? logs_.position() : proto::StreamPosition{};
    position.metrics = metrics_;
    return to_string(position);
  }

  std::string state_event(const JobRecord& record) {
    const auto waiting = dispatcher_.scheduling().waiting(record.state.id);
    reason_ = waiting.reason;
    reason_looked_ = std::chrono::steady_clock::now();
    return server_sent_event("state", job_doc(record, waiting), position());
  }

  /// A job waits for another reason than was told, though nothing happened to the job itself.
  bool has_new_reason(const core::JobState& state) {
    const auto now = std::chrono::steady_clock::now();
    if (state.phase != core::JobPhase::kQueued || now - reason_looked_ < kReasonEvery) return false;
    reason_looked_ = now;
    return dispatcher_.scheduling().waiting(state.id).reason != reason_;
  }

  void add_point(std::string& text, const proto::MetricPoint& point) {
    ++metrics_;
    text += server_sent_event("metrics", point, position());
  }

  /// The points that were not told yet, from the store where memory has them no more. True when none is left.
  bool add_metrics(std::string& text, const JobRecord& record) {
    if (stored_.empty() && metrics_ < record.metrics_dropped) {
      const auto count = std::min<std::int64_t>(kPointsMax, record.metrics_dropped - metrics_);
      auto page = dispatcher_.jobs().history().metrics(record.state.id, metrics_, static_cast<int>(count));
      if (page)
        stored_.assign(std::make_move_iterator(page->points.begin()),
                       std::make_move_iterator(page->points.end()));
      if (stored_.empty()) metrics_ = record.metrics_dropped;  // pruned: what is left follows
    }
    for (; !stored_.empty() && text.size() < kTextMax; stored_.pop_front()) add_point(text, stored_.front());
    if (!stored_.empty() || metrics_ < record.metrics_dropped) return false;
    const auto end = record.metrics_dropped + static_cast<std::int64_t>(record.metrics.size());
    while (metrics_ < end && text.size() < kTextMax)
      add_point(text, record.metrics[static_cast<std::size_t>(metrics_ - record.metrics_dropped)]);
    return metrics_ >= end;
  }

  Dispatcher& dispatcher_;
  const FollowJob& follow_;
  LogFollower& logs_;
  std::uint64_t state_version_ = 0, progress_version_ = 0;
  std::string reason_;  ///< told
  std::chrono::steady_clock::time_point reason_looked_{};
  std::int64_t metrics_;  ///< told, counted from the job's first point
  /// what was read from the store and is told next: a page is read once
  std::deque<proto::MetricPoint> stored_;
};

}  // namespace

asio::awaitable<void> async_stream_job(HttpStream& client, Dispatcher& dispatcher, JobNews& job_news,
                                       FollowJob follow, const bool& stopping) {
  const auto executor = co_await asio::this_coro::executor;
  const auto news = job_news.of(follow.id);
  LogFollower logs(executor, dispatcher, news, follow.rank, follow.from);
  JobStream stream(dispatcher, follow, logs);
  bool open = co_await async_write(client, std::string(kHeader)), over = false;
  auto last_write = std::chrono::steady_clock::now();
  while (open && !over && !stopping) {
    const auto* record = dispatcher.jobs().find(follow.id);
    if (record == nullptr) break;  // pruned meanwhile
    std::string text = stream.take(*record, over);
    const auto now = std::chrono::steady_clock::now();
    if (text.empty() && now - last_write >= kKeepAlive) text = ": alive\n\n";
    if (text.empty()) {
      co_await news->async_wait(1s);
      continue;
    }
    last_write = now;
    bool durable = co_await async_durable(dispatcher.gate(), 1s);
    while (!durable && !stopping) durable = co_await async_durable(dispatcher.gate(), 1s);
    if (!durable) break;
    open = co_await async_write(client, std::move(text));
    // Look again without waiting: news may have come while the client was written to.
  }
  co_await logs.async_close();
}

}  // namespace rtrain::head
