// The agent's connection to its head: dialled again for ever, with a lease.
// A message is confirmed when the head says Taken; an answered heartbeat renews the lease and nothing else.
// The lease counts from when the last heartbeat that the head answered was sent. The head counts from when it
// heard it, which is later: so the agent always gives up first, also where the packets of one direction only
// are lost.
#pragma once

#include "common/async/gate.h"
#include "daemon/agent/agent_record.h"
#include "daemon/agent/outbox.h"
#include "proto/frame/wire.h"

#include <deque>
#include <functional>

namespace rtrain::agent {

/// @thread the agent's.
class HeadLink {
 public:
  struct Callbacks {
    /// Whether a connection may be used; an error is told and the head is dialled again later.
    std::function<Result<Done>(const net::Socket&)> trusts;
    std::function<proto::Hello(const std::string& local_address)> hello;  ///< built anew for each connection
    std::function<void(proto::Message)> message;
    std::function<void()> connected;  ///< Welcome was read: the time to say what each head must know
    /// The head answered nothing for its lease: the ranks must end, the head may place them elsewhere. Once a
    /// silence.
    std::function<void()> lease_lost;
    /// The lease counts from here now.
    std::function<void(const LeaseFile::Grant&)> granted;
    /// Messages up to this number are stored by the head.
    std::function<void(std::int64_t)> settled;
  };
  HeadLink(net::Endpoint head, Callbacks callbacks)
      : head_(std::move(head)), callbacks_(std::move(callbacks)) {}

  /// There are ranks of an earlier agent: its lease goes on, nothing means that it is over. Before
  /// async_run().
  void resume(const std::optional<LeaseFile::Grant>& grant);
  /// Connects, serves, connects again, until stop().
  net::asio::awaitable<void> async_run();
  /// In order. Kept until the head has stored it (progress and logs are not: who asks for them asks again).
  /// @return its number, for `settled`; 0 for what is not kept.
  std::int64_t send(const proto::Message& message);
  /// Heartbeat and lease; to call at least ten times a second.
  void tick();
  /// For how long from now the ranks of this node may be left alone (rank_lease.h). Without a lease there are
  /// none: `longest`.
  [[nodiscard]] std::chrono::milliseconds rank_lease(std::chrono::milliseconds longest) const;
  /// Waits until the head has all that was sent, at most 1 s.
  net::asio::awaitable<void> async_flush();
  void stop();
  /// The head takes more slowly than is sent: what can wait, should.
  [[nodiscard]] bool is_behind() const;
  /// Ranks that ended, and the head may not know it yet.
  [[nodiscard]] std::vector<proto::RankKey> unreported_ends() const { return outbox_.ends(); }

 private:
  net::asio::awaitable<Result<Done>> async_connect_once();
  void pump();
  void grant(std::chrono::steady_clock::time_point from);

  net::Endpoint head_;
  Callbacks callbacks_;
  std::shared_ptr<net::FrameStream> stream_;  ///< set between Welcome and the end of a connection
  std::shared_ptr<net::FrameStream> dialling_;
  Outbox outbox_;
  /// of this connection: when those were sent that are not answered yet
  std::deque<std::chrono::steady_clock::time_point> beats_;
  /// granted_: from when the lease counts
  std::chrono::steady_clock::time_point granted_{}, next_heartbeat_{};
  std::chrono::milliseconds lease_{60'000}, heartbeat_{0};  ///< heartbeat_: 0 before a Welcome
  bool lease_held_ = false, stopping_ = false;
};

}  // namespace rtrain::agent
