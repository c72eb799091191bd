#include "daemon/head/api/log_follower.h"

#include <algorithm>

namespace rtrain::head {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

// bytes asked for at once: the less, the more ranks are followed
constexpr std::int64_t kPieceMax = 64 << 10, kPieceMin = 4 << 10;

constexpr auto kAwayMax = 5s;

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

LogFollower::LogFollower(asio::any_io_executor executor, Dispatcher& dispatcher, std::shared_ptr<News> news,
                         int rank, const proto::StreamPosition& from)
    : dispatcher_(dispatcher),
      inbox_(std::make_shared<Inbox>(executor, std::move(news))),
      rank_(rank),
      attempt_(from.attempt),
      position_(from),
      gate_(executor) {}

void LogFollower::look(const core::JobState& state) {
  // the first one while the job waits for it
  const auto current = std::max(state.attempt, Attempt(1));
  // what came before this stream is not told again
  if (attempt_.value() == 0 || attempt_ > current) attempt_ = current;
  for (; attempt_ < state.attempt; attempt_ = Attempt(attempt_.value() + 1), started_.clear()) {
    // too quick to be seen while it ran: its logs are there all the same
    const auto passed = state.nodes.find(attempt_);
    for (std::size_t rank = 0; passed != state.nodes.end() && rank < passed->second.size(); ++rank)
      start(state.id, rank, passed->second[rank]);
  }
  for (std::size_t rank = 0; attempt_ == state.attempt && rank < state.ranks.size(); ++rank) {
    const auto& r = state.ranks[rank];
    const bool has_log =
        r.phase == core::RankPhase::kEnded ? r.pid != 0 : r.phase != core::RankPhase::kPlaced;
    if (has_log) start(state.id, rank, r.placement.node);
  }
}

proto::StreamPosition LogFollower::position() {
  auto attempt = attempt_;  // the first that is not told in full
  if (!inbox_->reading.empty()) attempt = std::min(attempt, inbox_->reading.begin()->first);
  for (const auto& piece : inbox_->pieces) attempt = std::min(attempt, Attempt(piece.attempt));
  position_.attempt = attempt.value();
  position_.logs.erase(position_.logs.begin(), position_.logs.lower_bound({position_.attempt, 0}));
  return position_;
}

void LogFollower::start(JobId job, std::size_t rank, const std::string& node) {
  if ((rank_ >= 0 && static_cast<std::size_t>(rank_) != rank) || !started_.insert(rank).second) return;
  const proto::RankKey key{job, attempt_, static_cast<int>(rank)};
  const auto told = position_.logs.find({key.attempt.value(), key.rank});
  ++inbox_->readers;
  ++inbox_->reading[attempt_];
  asio::awaitable<void> reader =
      async_read_rank(inbox_, dispatcher_, node, key, told == position_.logs.end() ? 0 : told->second);
  gate_.spawn(std::move(reader));
}

std::optional<proto::LogDoc> LogFollower::take() {
  if (inbox_->pieces.empty()) return std::nullopt;
  proto::LogDoc piece = std::move(inbox_->pieces.front());
  inbox_->pieces.pop_front();
  inbox_->bytes -= static_cast<std::size_t>(piece.next - piece.offset);
  inbox_->room.announce();
  position_.logs[{piece.attempt, piece.rank}] = piece.next;
  return piece;
}

asio::awaitable<void> LogFollower::async_close() {
  inbox_->closed = true;
  inbox_->room.announce();
  co_await gate_.close();
}

asio::awaitable<void> LogFollower::async_read_rank(std::shared_ptr<Inbox> inbox, Dispatcher& dispatcher,
                                                   std::string node, proto::RankKey key,
                                                   std::int64_t offset) {
  proto::LogRead read;
  read.key = key;
  read.offset = offset;
  read.wait_s = 5;
  std::optional<std::chrono::steady_clock::time_point> given_up;
  while (true) {
    while (inbox->bytes >= kWaitingMax && !inbox->closed) co_await inbox->room.async_wait(1s);
    if (inbox->closed) break;
    read.bytes_max =
        std::clamp(static_cast<std::int64_t>(kWaitingMax) / inbox->readers, kPieceMin, kPieceMax);
    const auto session = dispatcher.nodes().session(node);
    Result<proto::LogData> data = fail(Errc::kUnavailable, "away");
    if (session) {
      asio::awaitable<Result<proto::LogData>> reading = session->async_read_log(read);
      data = co_await std::move(reading);
    }
    const bool no_log = data && !data->error.empty();
    if (!data || no_log) {
      // The agent may come back with the log; once the attempt is over it is waited for a while (after a
      // restart of the head it dials again).
      const bool live = dispatcher.jobs().is_current(key.job, key.attempt);
      if (live)
        given_up.reset();
      else if (!given_up)
        given_up = std::chrono::steady_clock::now() + kAwayMax;
      if (!live && (no_log || std::chrono::steady_clock::now() >= *given_up)) break;
      co_await async::async_sleep(200ms);
      continue;
    }
    given_up.reset();
    const auto size = whole_text(data->data, data->complete);
    if (size > 0) {
      read.offset = data->offset + static_cast<std::int64_t>(size);
      data->data.resize(size);
      inbox->bytes += size;
      inbox->pieces.push_back(
          {key.attempt.value(), key.rank, data->offset, read.offset, std::move(data->data)});
      inbox->news->announce();
    } else if (!data->data.empty()) {
      // Half a character: let the rest come instead of asking again at once.
      co_await async::async_sleep(50ms);
    }
    if (data->complete && data->at_end) break;
  }
  --inbox->readers;
  if (--inbox->reading[key.attempt] == 0) inbox->reading.erase(key.attempt);
  inbox->news->announce();
}

}  // namespace rtrain::head
