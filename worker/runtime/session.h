// A worker's connection to its agent: reports and progress out, lease in. No LibTorch.
#pragma once

#include "common/base/result.h"
#include "proto/message/message.h"
#include "worker/runtime/environment.h"

#include <chrono>
#include <memory>

namespace rtrain::runtime {

/// The connection to the agent, on a thread of its own that waits in poll(2) (started by open(), so after the fork).
/// A bounded queue: when the agent is away it is dialled again and reports wait (64 MiB; beyond that the oldest without a
/// checkpoint are dropped, those with one never); of progress only the newest waits.
/// When the lease runs out the whole process group is killed (SIGKILL): a rank never outlives its right to run.
/// @thread all members from any thread.
class Session {
 public:
  /// Dials the agent and waits for Welcome (at most 10 s).
  [[nodiscard]] static Result<std::unique_ptr<Session>> open(const Environment& environment);
  ~Session();
  /// Queues it; never blocks.
  void send(proto::Message message);
  /// Waits until everything sent was written to the agent's socket. kTimeout.
  [[nodiscard]] Result<Done> flush(std::chrono::milliseconds timeout);

 private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain::runtime
