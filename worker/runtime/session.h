// A worker's side of the cluster: who am I, and the connection to my agent. No LibTorch.
#pragma once

#include "common/base/result.h"
#include "proto/message/message.h"

#include <functional>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace rtrain::runtime {

/// Read once from the RTRAIN_* and torchrun variables (and the launch file). Values, no globals.
struct Environment {
  bool in_job = false;   ///< false: a plain process, rank 0 of 1
  proto::RankKey key;
  int world_size = 1, rank = 0, local_rank = 0, local_world_size = 1, node_rank = 0, num_nodes = 1;
  std::string master_addr = "127.0.0.1";
  int master_port = 0;
  std::string node, node_address = "127.0.0.1";
  std::string rank_dir, agent_socket, secret;
  proto::Launch launch;  ///< default-constructed outside a job
  int gpus = 0;          ///< held by this rank
  std::vector<int> device_indices;  ///< of this rank's GPUs within CUDA_VISIBLE_DEVICES
};
[[nodiscard]] Result<Environment> read_environment();

/// The connection to the agent, on a thread of its own (Asio): reports and progress out, lease in.
/// A bounded queue: when the agent is away reports wait (64 MiB, reports with checkpoints never dropped), progress is dropped.
/// When the lease runs out the whole process group is killed (SIGKILL): a rank never outlives its right to run.
/// @thread all members from any thread.
class Session {
 public:
  /// Dials the agent and waits for Welcome (at most 10 s).
  [[nodiscard]] static Result<std::unique_ptr<Session>> open(const Environment& environment);
  ~Session();
  void send(proto::Message message);
  /// Waits until everything sent was written to the agent's socket. kTimeout.
  [[nodiscard]] Result<Done> flush(std::chrono::milliseconds timeout);

 private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain::runtime
