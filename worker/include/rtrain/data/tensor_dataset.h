// A data set over tensors in memory.
#pragma once

#include <rtrain/data/dataset.h>

#include <memory>

namespace rtrain::data {

/// torch.utils.data.TensorDataset for one or two tensors: sample i is input[i], target[i]. The tensors are
/// shared, not copied, and may be on any device.
/// @param target default: data without targets.
/// @throws std::invalid_argument if input is a scalar or undefined, or the first dimensions differ.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> TensorDataset(torch::Tensor input,
                                                                torch::Tensor target = {});

}  // namespace rtrain::data
