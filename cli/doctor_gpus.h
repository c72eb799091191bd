// What NVML and LibTorch say of the GPUs, judged.
#pragma once

#include "cli/doctor_host.h"

#include <vector>

namespace rtrain::cli {

/// What NVML says. Pure.
[[nodiscard]] std::vector<proto::Check> judge_gpus(const HostFacts& facts);
/// Whether LibTorch's CUDA and the driver's fit, and whether both see as many GPUs. Pure. `libtorch_cuda`:
/// 13000 is 13.0, 0 without CUDA.
[[nodiscard]] std::vector<proto::Check> judge_cuda(const HostFacts& facts, int libtorch_cuda,
                                                   int libtorch_gpus);

}  // namespace rtrain::cli
