// What the head can do with a connected agent. Behind it stands a session (agent_session.h), or a test's
// stand-in.
#pragma once

#include "proto/message/message.h"

#include <boost/asio/awaitable.hpp>

namespace rtrain::head {

/// @thread the head's.
class AgentLine {
 public:
  AgentLine() = default;
  AgentLine(const AgentLine&) = delete;
  AgentLine& operator=(const AgentLine&) = delete;
  virtual ~AgentLine() = default;
  /// The name of its node.
  [[nodiscard]] virtual const std::string& node() const = 0;
  /// Of the protocol, as the agent speaks it.
  [[nodiscard]] virtual int version() const { return proto::kProtocolVersion; }
  /// Never waits. False when the connection is gone.
  virtual bool send(const proto::Message& message) = 0;
  /// Asks for a piece of a log. kUnavailable: the agent went away; kTimeout: it did not answer within wait_s
  /// + 10 s.
  virtual boost::asio::awaitable<Result<proto::LogData>> async_read_log(proto::LogRead read) = 0;
  virtual void close() = 0;
};

}  // namespace rtrain::head
