// The options with which a rank joins its job's group.
#pragma once

#include <torch/types.h>

#include <chrono>
#include <string>

namespace rtrain::comm {

struct JobGroupOptions {
  std::string backend = "gloo";  ///< for all tensors; "nccl": NCCL for CUDA tensors, Gloo for CPU tensors
  int rank = 0, world_size = 1;
  std::string master_addr;  ///< address of rank 0, which serves the store
  int master_port = 0;
  std::string node_address;  ///< the address that Gloo binds to
  std::chrono::milliseconds timeout{1800'000}, init_timeout{300'000};
  torch::Device device = torch::kCPU;
  /// Create store and backends even in a world of 1, so that NCCL can be tested with a single GPU.
  bool alone_too = false;
};

}  // namespace rtrain::comm
