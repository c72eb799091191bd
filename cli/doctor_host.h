// What `rtrain doctor` finds out of the machine without LibTorch. Looking and judging are apart: the
// judgement is pure.
#pragma once

#include "cli/doctor_nvml.h"
#include "cli/doctor_proc.h"
#include "cli/doctor_storage.h"
#include "common/os/memory_group.h"
#include "proto/record/check.h"

#include <cstdint>
#include <string>
#include <vector>

namespace rtrain::cli {

struct PortFacts {
  int port = 0;
  std::string whom, option;  ///< "agents", and the head's option that names another port
  std::string problem;       ///< why a head cannot listen on it; "" it can
};

struct HostFacts {
  /// Soft limits; UINT64_MAX: none.
  std::uint64_t open_files = 0, processes = 0, locked_memory_bytes = 0, address_space_bytes = 0;
  os::UsableMemory memory;
  ProcFacts proc;
  double shm_free_bytes = 0;   ///< of /dev/shm
  std::string shm_problem;     ///< why nothing can be shared through it; "" it can
  bool infiniband = false;     ///< /sys/class/infiniband has a device
  std::string cgroup;          ///< below which an agent would make the groups of its ranks
  std::string cgroup_problem;  ///< why it would make none, in the words of its log; "" it would
  StorageFacts storage;
  std::vector<PortFacts> ports;
  std::vector<std::string> programs_missing;  ///< of those that rtrain starts: the path, and why
  NvmlFacts nvml;
  bool nvidia_devices = false;  ///< /dev/nvidia0 is there
};

/// Asks the machine, but neither NVML nor the storage. `programs`: paths of what rtrain starts.
[[nodiscard]] HostFacts look_at_host(const std::vector<PortFacts>& ports,
                                     const std::vector<std::string>& programs);
/// All but storage and GPUs, in two parts: the storage's line stands between them. Pure.
[[nodiscard]] std::vector<proto::Check> judge_limits(const HostFacts& facts);
[[nodiscard]] std::vector<proto::Check> judge_programs(const HostFacts& facts);

}  // namespace rtrain::cli
