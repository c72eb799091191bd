// One connected agent: handshake, heartbeats, and questions that wait for an answer (reading a log).
#pragma once

#include "daemon/head/net/admission.h"
#include "daemon/head/nodes/agent_line.h"
#include "proto/frame/wire.h"

#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <map>
#include <memory>

namespace rtrain::head {

struct SessionRules {
  Admission admission;
  double lease_s = 60, heartbeat_s = 2;
};

/// @thread the head's.  @lifetime by shared_ptr; run() keeps one.
class AgentSession final : public AgentLine, public std::enable_shared_from_this<AgentSession> {
 public:
  struct Callbacks {
    /// The peer proved itself. An error is sent as Refused and ends the session. Welcome has been queued when
    /// `joined` runs.
    std::function<Result<Done>(const std::shared_ptr<AgentSession>&, const proto::Hello&)> join;
    std::function<void(const std::shared_ptr<AgentSession>&, const proto::Hello&)> joined;
    std::function<void(AgentSession&, proto::Message)> message;
    std::function<void(AgentSession&)> left;
    /// Runs it when all that was taken in so far is durable.
    std::function<void(std::function<void()>)> when_stored;
  };
  /// Who dialled.
  struct Peer {
    std::string address;                ///< "" for a Unix socket
    std::optional<net::PeerUser> user;  ///< of a Unix socket
  };
  AgentSession(std::shared_ptr<net::FrameStream> stream, Peer peer, SessionRules rules, Callbacks callbacks);

  /// From the handshake to the end of the connection.
  static net::asio::awaitable<void> async_run(std::shared_ptr<AgentSession> self);
  bool send(const proto::Message& message) override;
  net::asio::awaitable<Result<proto::LogData>> async_read_log(proto::LogRead read) override {
    return async_ask(shared_from_this(), read);
  }
  void close() override;
  [[nodiscard]] const std::string& node() const override { return node_; }
  [[nodiscard]] int version() const override { return version_; }

 private:
  struct Answer {
    explicit Answer(const net::asio::any_io_executor& executor) : arrived(executor) {}
    net::asio::steady_timer arrived;
    std::optional<proto::LogData> data;
  };
  /// Sends Taken when what came so far is stored; one at a time, for all that came meanwhile.
  void confirm();
  void answer_heartbeat();
  net::asio::awaitable<Result<proto::Hello>> async_handshake();
  static net::asio::awaitable<Result<proto::LogData>> async_ask(std::shared_ptr<AgentSession> self,
                                                                proto::LogRead read);

  std::shared_ptr<net::FrameStream> stream_;
  Peer peer_;
  SessionRules rules_;
  Callbacks callbacks_;
  std::string node_;
  std::map<std::int64_t, std::shared_ptr<Answer>> questions_;
  int version_ = proto::kProtocolVersion;  ///< the agent's
  std::int64_t taken_ = 0;                 ///< messages of this connection that Taken counts
  bool open_ = false, confirming_ = false;
};

}  // namespace rtrain::head
