#include "common/os/nvml.h"

#include "common/log/log.h"
#include "common/os/nvml_list.h"

#include <array>
#include <memory>
#include <mutex>

#include <dlfcn.h>

namespace rtrain::os {
namespace {

// The few functions of NVML's stable C interface that are used (NVIDIA Management Library API reference).
using Device = struct nvmlDevice_st*;
struct Memory {
  unsigned long long total, free, used;
};
// nvmlProcessInfo_t of _v2 and _v3
struct Process {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
};
constexpr int kNoFunction = 13;      // NVML_ERROR_FUNCTION_NOT_FOUND
constexpr unsigned kGpusMax = 1024;  // more is a broken driver's answer: no machine has a tenth of it

class Library {
 public:
  Library() : handle_(::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {}
  ~Library() {
    if (handle_ != nullptr) ::dlclose(handle_);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  explicit operator bool() const { return handle_ != nullptr; }
  /// Calls `name`. @return nvmlReturn_t; NVML_ERROR_FUNCTION_NOT_FOUND when it is missing.
  template <class... Args>
  int result_of(const char* name, Args... arguments) const {
    auto* function = reinterpret_cast<int (*)(Args...)>(::dlsym(handle_, name));
    return function != nullptr ? function(arguments...) : kNoFunction;
  }
  /// False when it is missing or fails.
  template <class... Args>
  bool call(const char* name, Args... arguments) const {
    return result_of(name, arguments...) == kNvmlSuccess;
  }

 private:
  void* handle_;
};

/// Started, and shut down at its end. `nvml` is empty where there is none.
struct OpenLibrary {
  OpenLibrary() {
    nvml.emplace();
    if (!*nvml || !nvml->call("nvmlInit_v2")) nvml.reset();
  }
  ~OpenLibrary() {
    if (nvml) nvml->call("nvmlShutdown");
  }
  OpenLibrary(const OpenLibrary&) = delete;
  OpenLibrary& operator=(const OpenLibrary&) = delete;
  std::optional<Library> nvml;
};

/// 0 for an answer that cannot be.
unsigned device_count(const Library& nvml, std::string* problem = nullptr) {
  unsigned count = 0;
  if (!nvml.call("nvmlDeviceGetCount_v2", &count)) return 0;
  if (count <= kGpusMax) return count;
  if (problem != nullptr) *problem = "NVML counts " + std::to_string(count) + " GPUs";
  return 0;
}

/// The processes that compute on a device; a driver before 510 knows the older name.
std::vector<Process> processes_on(const Library& nvml, Device device) {
  for (const char* name :
       {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"})
    if (auto found = nvml_list<Process>(
            [&](unsigned* count, Process* rows) { return nvml.result_of(name, device, count, rows); }))
      return *std::move(found);
  return {};
}

}  // namespace

std::vector<GpuProcess> gpu_processes(const std::vector<int>& gpus) {
  constexpr unsigned long long kUnknown = ~0ULL;  // NVML_VALUE_NOT_AVAILABLE
  // Who finds a process there asks again soon: opening NVML takes up to a second where no persistence daemon
  // runs.
  static std::mutex mutex;
  static std::unique_ptr<OpenLibrary> kept;
  const std::lock_guard lock(mutex);
  if (!kept) kept = std::make_unique<OpenLibrary>();
  std::vector<GpuProcess> all;
  if (!kept->nvml) {
    kept.reset();
    return all;
  }
  const Library& nvml = *kept->nvml;
  for (const int gpu : gpus) {
    Device device = nullptr;
    // only declared, or fell off the bus
    if (!nvml.call("nvmlDeviceGetHandleByIndex_v2", static_cast<unsigned>(gpu), &device)) continue;
    for (const auto& process : processes_on(nvml, device))
      all.push_back({gpu, process.pid, process.used == kUnknown ? 0 : process.used});
  }
  if (all.empty()) kept.reset();
  return all;
}

std::vector<GpuState> gpu_states() {
  constexpr int kSmClock = 1, kDieTemperature = 0, kUncorrected = 1, kSinceLoaded = 0;  // NVML_CLOCK_SM, ...
  std::vector<GpuState> states;
  const Library nvml;
  if (!nvml || !nvml.call("nvmlInit_v2")) return states;
  const unsigned count = device_count(nvml);
  for (unsigned index = 0; index < count; ++index) {
    Device device = nullptr;
    if (!nvml.call("nvmlDeviceGetHandleByIndex_v2", index, &device)) continue;
    GpuState state;
    state.index = static_cast<int>(index);
    if (!nvml.call("nvmlDeviceGetClockInfo", device, kSmClock, &state.sm_clock_mhz)) state.sm_clock_mhz = 0;
    if (!nvml.call("nvmlDeviceGetMaxClockInfo", device, kSmClock, &state.sm_clock_max_mhz))
      state.sm_clock_max_mhz = 0;
    if (!nvml.call("nvmlDeviceGetTemperature", device, kDieTemperature, &state.temperature_c))
      state.temperature_c = 0;
    if (Memory memory{}; nvml.call("nvmlDeviceGetMemoryInfo", device, &memory))
      state.memory_used_bytes = memory.used;
    if (unsigned long long errors = 0;
        nvml.call("nvmlDeviceGetTotalEccErrors", device, kUncorrected, kSinceLoaded, &errors))
      state.uncorrected_errors = errors;
    for (const auto& process : processes_on(nvml, device)) state.processes.push_back(process.pid);
    states.push_back(std::move(state));
  }
  nvml.call("nvmlShutdown");
  return states;
}

GpuInventory ask_nvml() {
  GpuInventory inventory;
  const Library nvml;
  if (!nvml) return inventory;
  if (!nvml.call("nvmlInit_v2")) {
    log::warn("NVML is installed but does not start; this node offers no GPU");
    return inventory;
  }
  std::array<char, 128> text{};
  if (nvml.call("nvmlSystemGetDriverVersion", text.data(), static_cast<unsigned>(text.size())))
    inventory.driver_version = text.data();
  if (!nvml.call("nvmlSystemGetCudaDriverVersion_v2", &inventory.cuda_version)) inventory.cuda_version = 0;
  const unsigned count = device_count(nvml, &inventory.problem);
  if (!inventory.problem.empty()) log::warn(inventory.problem + "; this node offers no GPU");
  for (unsigned index = 0; index < count; ++index) {
    Device device = nullptr;
    // a GPU that fell off the bus is not offered
    if (!nvml.call("nvmlDeviceGetHandleByIndex_v2", index, &device)) continue;
    // Its instances have UUIDs of their own; as a whole it cannot be used.
    if (unsigned mode = 0, pending = 0;
        nvml.call("nvmlDeviceGetMigMode", device, &mode, &pending) && mode == 1) {
      log::warn("a GPU in MIG mode is not offered", {{"gpu", std::to_string(index)}});
      continue;
    }
    Gpu gpu;
    gpu.index = static_cast<int>(index);
    if (nvml.call("nvmlDeviceGetName", device, text.data(), static_cast<unsigned>(text.size())))
      gpu.name = text.data();
    if (nvml.call("nvmlDeviceGetUUID", device, text.data(), static_cast<unsigned>(text.size())))
      gpu.uuid = text.data();
    if (Memory memory{}; nvml.call("nvmlDeviceGetMemoryInfo", device, &memory))
      gpu.memory_bytes = memory.total;
    inventory.gpus.push_back(std::move(gpu));
  }
  nvml.call("nvmlShutdown");
  return inventory;
}

}  // namespace rtrain::os
