// Who this worker is: the RTRAIN_* and torchrun variables and the launch file. No LibTorch.
#pragma once

#include "common/base/result.h"
#include "proto/message/message.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::runtime {

/// Read once from the RTRAIN_* and torchrun variables (and the launch file). Values, no globals.
struct Environment {
  bool in_job = false;  ///< false: a plain process, rank 0 of 1
  proto::RankKey key;
  int world_size = 1, rank = 0, local_rank = 0, local_world_size = 1, node_rank = 0, num_nodes = 1;
  std::string master_addr = "127.0.0.1";
  int master_port = 0;
  std::string node, node_address = "127.0.0.1";
  std::string rank_dir, agent_socket, secret;
  proto::Launch launch;             ///< default-constructed outside a job
  int gpus = 0;                     ///< held by this rank
  std::vector<int> device_indices;  ///< of this rank's GPUs within CUDA_VISIBLE_DEVICES
};

/// Reads a variable; nullopt when it is not set.
using Variables = std::function<std::optional<std::string>(const std::string& name)>;

/// kInvalidArgument names the variable at fault, kNotFound and kProtocol the launch file.
[[nodiscard]] Result<Environment> read_environment();
/// The pure part: `launch` is the content of the launch file, absent outside a job.
[[nodiscard]] Result<Environment> environment_of(const Variables& variable,
                                                 const std::optional<proto::Launch>& launch);

}  // namespace rtrain::runtime
