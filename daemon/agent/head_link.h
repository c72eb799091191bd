// The agent's connection to its head: dialled again for ever, with a lease.
#pragma once

#include "common/async/gate.h"
#include "proto/frame/wire.h"

#include <deque>
#include <functional>

namespace rtrain::agent {

/// @thread the agent's.
class HeadLink {
 public:
  struct Callbacks {
    std::function<proto::Hello(const std::string& local_address)> hello;  ///< built anew for each connection
    std::function<void(proto::Message)> message;
    /// Nothing was heard of the head for its lease: the ranks must end, the head may place them elsewhere. Once a silence.
    std::function<void()> lease_lost;
  };
  HeadLink(net::Endpoint head, Callbacks callbacks) : head_(std::move(head)), callbacks_(std::move(callbacks)) {}

  /// Connects, serves, connects again, until stop().
  net::asio::awaitable<void> async_run();
  /// In order. Kept while the head is away (progress is not: only the newest matters).
  void send(proto::Message message);
  /// Heartbeat and lease; to call at least ten times a second.
  void tick();
  net::asio::awaitable<void> async_flush();
  void stop();
  /// Ranks whose end the head has not been sent yet.
  [[nodiscard]] std::vector<proto::RankKey> unsent_ends() const;

 private:
  net::asio::awaitable<Result<Done>> async_connect_once();
  void drain();

  net::Endpoint head_;
  Callbacks callbacks_;
  std::shared_ptr<net::FrameStream> stream_;  ///< set between Welcome and the end of a connection
  std::shared_ptr<net::FrameStream> dialling_;
  std::deque<proto::Message> waiting_;
  std::chrono::steady_clock::time_point heard_ = std::chrono::steady_clock::now(), next_heartbeat_{};
  std::chrono::milliseconds lease_{15'000}, heartbeat_{2'000};
  bool lease_held_ = false, stopping_ = false;
};

}  // namespace rtrain::agent
