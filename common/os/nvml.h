// The GPUs of this machine, as NVIDIA's driver tells of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::os {

struct Gpu {
  int index = 0;  ///< NVML's
  std::string uuid, name;
  std::uint64_t memory_bytes = 0;
};
struct GpuInventory {
  std::vector<Gpu> gpus;
  std::string driver_version;
  int cuda_version = 0;  ///< the newest that the driver serves: 13000 is 13.0; 0 unknown
  std::string problem;   ///< why an NVML that started is not believed; "" it is
};
/// What a GPU is like at the moment; 0, or nothing, where the driver does not say.
struct GpuState {
  int index = 0;
  unsigned sm_clock_mhz = 0, sm_clock_max_mhz = 0, temperature_c = 0;
  std::uint64_t memory_used_bytes = 0;
  /// of its memory since the driver was loaded; nothing: no ECC
  std::optional<std::uint64_t> uncorrected_errors;
  std::vector<std::int64_t> processes;
};
/// A process that computes on a GPU, as the driver counts it: in a container its number may be the host's.
struct GpuProcess {
  int gpu = 0;
  std::int64_t pid = 0;
  std::uint64_t memory_bytes = 0;  ///< 0: the driver does not say
};
/// Those on these GPUs (NVML indices). Empty without NVML.
/// Loads it and asks: up to a second. It stays loaded while the answer names a process, for the next
/// question, and is unloaded otherwise. @thread any
[[nodiscard]] std::vector<GpuProcess> gpu_processes(const std::vector<int>& gpus);
/// Of all GPUs that NVML knows.
[[nodiscard]] std::vector<GpuState> gpu_states();
/// Asks libnvidia-ml.so.1, if the machine has one. Loads and unloads it: an idle agent keeps nothing of it.
[[nodiscard]] GpuInventory ask_nvml();

}  // namespace rtrain::os
