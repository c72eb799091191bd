// How a rank joins the others of its job.
#pragma once

#include <torch/types.h>

#include <chrono>
#include <string>

namespace rtrain::comm {

struct JobGroupOptions {
  std::string backend = "gloo";  ///< for all tensors; "nccl": NCCL for CUDA tensors and Gloo for the others
  int rank = 0, world_size = 1;
  std::string master_addr;  ///< of rank 0, which serves the store
  int master_port = 0;
  std::string node_address;  ///< the address that Gloo binds to
  std::chrono::milliseconds timeout{1800'000}, init_timeout{300'000};
  torch::Device device = torch::kCPU;
  /// Store and backends also in a world of 1: so one GPU is enough to try NCCL.
  bool alone_too = false;
};

}  // namespace rtrain::comm
