// What NVML says of the GPUs, asked in a child process: the driver's library may hang or crash.
#pragma once

#include "common/os/nvml.h"

#include <chrono>
#include <optional>
#include <string>

namespace rtrain::cli {

struct NvmlFacts {
  os::GpuInventory gpus;
  std::vector<os::GpuState> states;
  std::string problem;    ///< why there is no answer; "" there is one, which may be that there is no GPU
  bool was_asked = true;  ///< else `problem` is that no process could be started for it
};

/// @thread that of main(), while there is no other
[[nodiscard]] NvmlFacts ask_nvml_apart(std::chrono::milliseconds limit);

/// The answer as one line, and back. Pure; nothing on another document.
[[nodiscard]] std::string nvml_line(const NvmlFacts& facts);
[[nodiscard]] std::optional<NvmlFacts> read_nvml_line(const std::string& line);

}  // namespace rtrain::cli
