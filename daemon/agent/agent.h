// The agent of one node: tells the head what there is, starts ranks through its supervisors, relays their
// reports and logs.
#pragma once

#include "common/net/endpoint.h"
#include "proto/config/config.h"

#include <memory>

namespace rtrain::agent {

/// Whether ranks and supervisors outlive an agent that is killed.
enum class Survival {
  kUntilTheirLease,  ///< the next agent takes them up
  kEndWithTheAgent,  ///< there will be no next one
};

class Agent {
 public:
  /// Takes the state_dir (flock; kConflict when another agent has it) and the worker socket
  /// <state_dir>/agent.sock.
  [[nodiscard]] static Result<std::unique_ptr<Agent>> open(net::asio::any_io_executor executor,
                                                           proto::AgentConfig config,
                                                           Survival survival = Survival::kUntilTheirLease);
  ~Agent();
  /// Connects to the head (with back-off, for ever) and serves until stop(). Call once.
  net::asio::awaitable<void> async_run();
  /// SIGTERM: ends every rank (SIGTERM, 2 s, SIGKILL), then the supervisors; async_run() returns when all are
  /// gone. A supervisor that hangs is killed after 8 s, with its ranks.
  void stop();

 private:
  class Impl;
  explicit Agent(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain::agent
