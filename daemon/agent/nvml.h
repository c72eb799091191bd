#pragma once

#include "proto/message/types.h"

namespace rtrain::agent {

struct GpuInventory {
  std::vector<proto::GpuInfo> gpus;
  std::string driver_version;
};
/// Asks libnvidia-ml.so.1, if the machine has one. Loads and unloads it: an idle agent keeps nothing of it.
[[nodiscard]] GpuInventory ask_nvml();

}  // namespace rtrain::agent
