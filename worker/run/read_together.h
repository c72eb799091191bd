// Reads scalars from a device to the host.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <vector>

namespace rtrain {

/// The values of one-element tensors, in order. Reads them in one copy per GPU, because each copy waits for
/// all work queued on the device.
/// @throws c10::Error if a tensor has another number of elements.
[[nodiscard]] RTRAIN_API std::vector<double> read_together(const std::vector<torch::Tensor>& scalars);

}  // namespace rtrain
