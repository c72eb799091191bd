// What a device calls itself.
#pragma once

#include <c10/core/Device.h>

#include <string>

namespace rtrain {

/// "NVIDIA H100 80GB HBM3"; empty: not known.
[[nodiscard]] std::string name_of_device(c10::Device device);

}  // namespace rtrain
