#pragma once

#include <rtrain/data/dataset.h>

#include <memory>

namespace rtrain::data {

/// Samples that are in memory already: sample i is input[i], target[i]. torch.utils.data.TensorDataset of one
/// or two tensors. The tensors are shared, not copied, and may lie on any device.
/// @param target left out: data without targets.
/// @throws std::invalid_argument input is a scalar or undefined, or the first sizes differ.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> TensorDataset(torch::Tensor input,
                                                                torch::Tensor target = {});

}  // namespace rtrain::data
