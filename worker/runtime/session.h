// A worker's connection to its agent: reports and progress out, lease in. No LibTorch.
#pragma once

#include "common/base/result.h"
#include "proto/message/message.h"
#include "worker/runtime/environment.h"

#include <chrono>
#include <functional>
#include <memory>

namespace rtrain::runtime {

/// The connection to the agent, on a thread of its own that waits in poll(2) (started by open(), so after the
/// fork). A message is kept until the agent says that the head has stored it (Taken): when the agent is away
/// it is dialled again and told all that is not. Bounded to 64 MiB; beyond that the oldest reports that name
/// no checkpoint are dropped. What is kept also stands in the rank's folder (outbox_file.h), where the agent
/// finds it when the rank has ended. Of progress only the newest waits, and it is not kept. While it waits it
/// watches the training thread: one that makes no step for the job's hang_timeout_s is told of (pulse.h).
/// When the lease runs out the whole process group is killed (SIGKILL): a rank never outlives its right to
/// run.
/// @thread all members from any thread.
class Session {
 public:
  using OnYield = std::function<void(const proto::YieldAttempt&)>;
  using OnValidated = std::function<void(const proto::CheckpointRecord&)>;
  using OnPins = std::function<void(const std::vector<std::string>&)>;
  /// Dials the agent and waits for Welcome (at most 10 s). `on_yield`: the first time that the job is asked
  /// for its place, on the session's thread; it must not wait.
  /// `on_validated`: what became of the validation of a checkpoint, perhaps more than once; likewise.
  /// `on_pins`: the checkpoints that are pinned from now on, by path; likewise. What wait_stored() waits for
  /// comes after it.
  [[nodiscard]] static Result<std::unique_ptr<Session>> open(const Environment& environment,
                                                             OnYield on_yield = {},
                                                             OnValidated on_validated = {},
                                                             OnPins on_pins = {});
  ~Session();
  /// Queues it; never blocks. A report carries how many reports before it were dropped for want of space.
  void send(proto::Message message);
  /// Waits until the death of this process loses nothing of what was sent: the agent's socket has it, or the
  /// rank's folder. kTimeout.
  [[nodiscard]] Result<Done> flush(std::chrono::milliseconds timeout);
  /// Waits until the head has stored all that was sent. False: not in time.
  [[nodiscard]] bool wait_stored(std::chrono::milliseconds timeout);

 private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain::runtime
