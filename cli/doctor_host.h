// What `rtrain doctor` finds out of the machine without LibTorch. Looking and judging are apart: the
// judgement is pure.
#pragma once

#include "common/os/nvml.h"
#include "proto/record/check.h"

#include <string>
#include <vector>

namespace rtrain::cli {

struct StorageFacts {
  std::string path;
  std::string problem;  ///< why nothing can be written there; "" it can
  double free_gib = 0;
  double fsync_ms = 0;    ///< median of 16 writes of 4 KiB, each with an fsync
  double write_mb_s = 0;  ///< 64 MiB and an fsync
};
struct PortFacts {
  int port = 0;
  std::string what, problem;
};  ///< problem "": it is free

struct HostFacts {
  std::uint64_t open_files = 0, locked_memory_bytes = 0, processes = 0;  ///< soft limits; UINT64_MAX: none
  double shm_free_mib = 0;  ///< of /dev/shm; below 0: there is none
  bool infiniband = false;  ///< /sys/class/infiniband has a device
  std::string cgroups;      ///< why ranks get no control groups of their own; "" they do
  StorageFacts storage;
  std::vector<PortFacts> ports;
  os::GpuInventory gpus;
  std::vector<os::GpuState> gpu_states;
  bool nvidia_devices = false;  ///< /dev/nvidia0 is there
};

/// Asks the machine; writes up to 64 MiB below `storage` and removes them. A second or two.
[[nodiscard]] HostFacts look_at_host(const std::string& storage, const std::vector<PortFacts>& ports);
/// Pure.
[[nodiscard]] std::vector<proto::Check> judge(const HostFacts& facts);
/// Whether LibTorch's CUDA and the driver's fit, and whether both see as many GPUs. Pure. `libtorch_cuda`:
/// 13000 is 13.0, 0 without CUDA.
[[nodiscard]] std::vector<proto::Check> judge_cuda(const HostFacts& facts, int libtorch_cuda,
                                                   int libtorch_gpus);

}  // namespace rtrain::cli
