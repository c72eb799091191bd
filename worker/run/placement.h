// The rank, device, strategy and precision that the options resolve to on this machine.
#pragma once

#include <rtrain/checkpoint_io.h>
#include <rtrain/cluster_environment.h>
#include <rtrain/precision.h>
#include <rtrain/strategies.h>

#include <torch/types.h>

#include <memory>

namespace rtrain {

struct Placement {
  int world_size = 1, global_rank = 0, local_rank = 0;
  torch::Device device = torch::kCPU;
  std::shared_ptr<Strategy> strategy;
  bool strategy_was_auto = false;
  std::shared_ptr<ClusterEnvironment> environment;
  std::shared_ptr<Precision> precision;
  std::shared_ptr<CheckpointIO> checkpoint_io;
};

}  // namespace rtrain
