// Clipping by the norm of gradients of which other ranks have the rest.
#pragma once

#include <rtrain/communicator.h>

#include <torch/types.h>

#include <vector>

namespace rtrain {

/// torch.nn.utils.clip_grad_norm_ of a model whose ranks hold parts. A collective of `ranks`, also for a rank
/// without gradients. The host does not wait for the device.
/// @param pieces gradients of parts: those of all ranks are different elements. @param whole gradients that
/// every rank has, and that count once. Both are scaled in place.
/// @return the norm of all of them before.
torch::Tensor clip_global_norm(const std::vector<torch::Tensor>& pieces,
                               const std::vector<torch::Tensor>& whole, Communicator& ranks, double limit,
                               torch::Device device);

/// The sum of the squares of all elements: a scalar of float64 on the device.
[[nodiscard]] torch::Tensor sum_of_squares(const std::vector<torch::Tensor>& gradients, torch::Device device);
/// Scales `gradients` in place so that a norm of more than `limit` becomes `limit`. @return `norm`, in their
/// type.
torch::Tensor scale_to_norm(const std::vector<torch::Tensor>& gradients, const torch::Tensor& norm,
                            double limit);

}  // namespace rtrain
