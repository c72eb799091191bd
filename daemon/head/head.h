// The head: jobs, nodes, scheduling, the cluster listener and the user API. One executor, one thread; the
// journal and the reading of large specs have threads of their own.
#pragma once

#include "common/net/endpoint.h"
#include "proto/config/config.h"

#include <memory>

namespace rtrain::head {

/// How carefully a head keeps its state.
struct Durability {
  std::int64_t ballast_bytes = 64 << 20;  ///< space that is kept for a full disk; 0: none
  /// false: the state survives the death of the process, not that of the machine
  bool sync = true;
};

class Head {
 public:
  /// Opens the store, reads back the jobs that live, and opens both listeners. Makes the token of its user
  /// when it is given none and listens on TCP. Errors: no token, a port or socket in use, state_dir: another
  /// head's, not writable, on NFS, a journal that is broken or of a newer rtraind.
  [[nodiscard]] static Result<std::unique_ptr<Head>> open(net::asio::any_io_executor executor,
                                                          proto::HeadConfig config,
                                                          Durability durability = {});
  ~Head();
  /// Serves until stop(). Call once.
  net::asio::awaitable<void> async_run();
  /// Clean end: refuses new work, cancels nothing (agents keep their ranks until their lease ends), closes
  /// listeners and streams.
  void stop();
  [[nodiscard]] std::uint16_t cluster_port() const;  ///< bound ports, for tests that ask for 0
  [[nodiscard]] std::uint16_t api_port() const;

 private:
  class Impl;
  explicit Head(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain::head
