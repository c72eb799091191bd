// The head: jobs, nodes, scheduling, the cluster listener and the user API. One executor, one thread.
#pragma once

#include "common/net/endpoint.h"
#include "proto/config/config.h"

#include <memory>

namespace rtrain::head {

class Head {
 public:
  /// Opens both listeners. Errors: an address that is not loopback without a token, a port or socket in use, state_dir.
  [[nodiscard]] static Result<std::unique_ptr<Head>> open(net::asio::any_io_executor executor, proto::HeadConfig config);
  ~Head();
  /// Serves until stop(). Call once.
  net::asio::awaitable<void> async_run();
  /// Clean end: refuses new work, cancels nothing (agents keep their ranks until their lease ends), closes listeners and streams.
  void stop();
  [[nodiscard]] std::uint16_t cluster_port() const;  ///< bound ports, for tests that ask for 0
  [[nodiscard]] std::uint16_t api_port() const;

 private:
  class Impl;
  explicit Head(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain::head
