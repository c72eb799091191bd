// Numbers of a device, as the host reads them.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <vector>

namespace rtrain {

/// The values of tensors of one element each, in their order. From a GPU they come in one copy for each
/// device: each copy waits for all that the device still has to do. @throws c10::Error a tensor has another
/// number of elements.
[[nodiscard]] RTRAIN_API std::vector<double> read_together(const std::vector<torch::Tensor>& scalars);

}  // namespace rtrain
