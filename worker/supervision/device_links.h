// What a process must not have when it is forked: CUDA that was started before the fork does not work after
// it.
#pragma once

#include <string>
#include <vector>

namespace rtrain::supervision {

/// The files of NVIDIA's driver that this process has open ("/dev/nvidia0", "/dev/nvidiactl"), each once.
/// @param descriptors  the folder that has a link for each open file
[[nodiscard]] std::vector<std::string> open_gpu_files(const std::string& descriptors = "/proc/self/fd");

}  // namespace rtrain::supervision
