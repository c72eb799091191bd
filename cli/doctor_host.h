// What `rtrain doctor` finds out of the machine without LibTorch. Looking and judging are apart: the
// judgement is pure.
#pragma once

#include "cli/doctor_nvml.h"
#include "proto/record/check.h"

#include <string>
#include <vector>

namespace rtrain::cli {

struct StorageFacts {
  std::string path;
  std::string problem;   ///< why nothing can be written there; "" it can
  bool is_there = true;  ///< else the free space is that of the nearest folder above
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
  std::vector<std::string> programs_missing;  ///< paths of those that rtrain starts
  NvmlFacts nvml;
  bool nvidia_devices = false;  ///< /dev/nvidia0 is there
};

/// Asks the machine, but not NVML; writes up to 64 MiB below `storage` and removes them. A second or two.
[[nodiscard]] HostFacts look_at_host(const std::string& storage, const std::vector<PortFacts>& ports,
                                     const std::vector<std::string>& programs);
/// All but the GPUs. Pure.
[[nodiscard]] std::vector<proto::Check> judge(const HostFacts& facts);
/// What NVML says. Pure.
[[nodiscard]] std::vector<proto::Check> judge_gpus(const HostFacts& facts);
/// Nothing when the line is not a check. Pure.
[[nodiscard]] std::optional<proto::Check> read_check(const std::string& line);
/// The figure when it is there and a whole number. Pure.
[[nodiscard]] int whole_figure(const proto::Check& check, const std::string& name, int otherwise);
/// Whether LibTorch's CUDA and the driver's fit, and whether both see as many GPUs. Pure. `libtorch_cuda`:
/// 13000 is 13.0, 0 without CUDA.
[[nodiscard]] std::vector<proto::Check> judge_cuda(const HostFacts& facts, int libtorch_cuda,
                                                   int libtorch_gpus);

}  // namespace rtrain::cli
