// Brings the logs of a job's ranks to one stream, as they are written and as fast as the stream is read.
#pragma once

#include "common/async/gate.h"
#include "daemon/head/api/news.h"
#include "daemon/head/dispatcher.h"
#include "proto/api/stream_position.h"

#include <deque>
#include <memory>
#include <set>

namespace rtrain::head {

/// How much of a piece of a log can be shown: whole lines where there is one, else up to the last whole
/// character. All of it when the log is complete. Pure.
[[nodiscard]] std::size_t whole_text(std::string_view text, bool complete);

/// Starts readers: of each rank once it has a process, of the attempts that pass while the stream is open. A
/// reader knows how far it is and asks its agent for more only while little is waiting to be sent: a client
/// that does not read costs kWaitingMax, however much is written.
/// @thread the head's.
class LogFollower {
 public:
  static constexpr std::size_t kWaitingMax = 256u << 10;
  /// `news` is announced when there is a piece. rank -1: all.
  LogFollower(net::asio::any_io_executor executor, Dispatcher& dispatcher, std::shared_ptr<News> news,
              int rank, const proto::StreamPosition& from);

  /// Starts the readers that are due. At each change of the job.
  void look(const core::JobState& state);
  /// The next piece; nothing when none waits.
  [[nodiscard]] std::optional<proto::LogDoc> take();
  [[nodiscard]] bool empty() const { return inbox_->pieces.empty(); }
  /// No reader runs: the logs of what look() has seen are told in full once empty().
  [[nodiscard]] bool drained() const { return inbox_->readers == 0; }
  /// What a follower has been told who was told all pieces that were taken.
  [[nodiscard]] proto::StreamPosition position();
  /// Ends the readers and waits for them.
  net::asio::awaitable<void> async_close();

 private:
  /// Shared by readers and stream.
  struct Inbox {
    Inbox(const net::asio::any_io_executor& executor, std::shared_ptr<News> stream_news)
        : room(executor), news(std::move(stream_news)) {}
    News room;                   ///< announced when pieces were taken out
    std::shared_ptr<News> news;  ///< what the stream waits for
    std::deque<proto::LogDoc> pieces;
    std::size_t bytes = 0;
    std::map<Attempt, int> reading;  ///< readers by attempt
    int readers = 0;
    bool closed = false;
  };
  static net::asio::awaitable<void> async_read_rank(std::shared_ptr<Inbox> inbox, Dispatcher& dispatcher,
                                                    std::string node, proto::RankKey key,
                                                    std::int64_t offset);
  void start(JobId job, std::size_t rank, const std::string& node);

  Dispatcher& dispatcher_;
  std::shared_ptr<Inbox> inbox_;
  int rank_;
  Attempt attempt_;
  std::set<std::size_t> started_;  ///< ranks of attempt_
  proto::StreamPosition position_;
  async::Gate gate_;
};

}  // namespace rtrain::head
