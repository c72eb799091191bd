#pragma once

#include "proto/message/types.h"

namespace rtrain::agent {

struct GpuInventory {
  std::vector<proto::GpuInfo> gpus;
  std::string driver_version;
};
/// A process that computes on a GPU, as the driver counts it: in a container its number may be the host's.
struct GpuProcess {
  int gpu = 0;
  std::int64_t pid = 0;
  std::uint64_t memory_bytes = 0;  ///< 0: the driver does not say
};
/// Those on these GPUs (NVML indices), at most 64 a GPU. Empty without NVML. Loads it, asks and unloads it: up to a second.
[[nodiscard]] std::vector<GpuProcess> gpu_processes(const std::vector<int>& gpus);
/// Asks libnvidia-ml.so.1, if the machine has one. Loads and unloads it: an idle agent keeps nothing of it.
[[nodiscard]] GpuInventory ask_nvml();

}  // namespace rtrain::agent
