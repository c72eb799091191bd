// Means of tensors over ranks.
#pragma once

#include <rtrain/communicator.h>

#include <torch/types.h>

#include <optional>
#include <vector>

namespace rtrain {

/// The mean of each tensor over the ranks, as new tensors; of numbers that are not floating-point, rank 0's.
/// One collective a type and device. Each rank divides by the number of ranks before the sum, as
/// torch.distributed.algorithms.model_averaging does. A collective: shapes and types are those of all ranks.
/// @param sent_as the type of what is sent; default: the tensor's own.
[[nodiscard]] std::vector<torch::Tensor> means_over(Communicator& ranks,
                                                    const std::vector<torch::Tensor>& tensors,
                                                    std::optional<torch::ScalarType> sent_as = std::nullopt);

}  // namespace rtrain
