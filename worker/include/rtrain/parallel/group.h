// The ranks that share a layer or a sequence.
#pragma once

#include <rtrain/communicator.h>
#include <rtrain/export.h>

#include <torch/types.h>

#include <cstdint>
#include <memory>

namespace rtrain::parallel {

/// device_mesh().shared_group(Axis::kTensor) or (Axis::kContext) of the module; process_group().subgroup() in
/// a loop of one's own; Communicator::alone() for one process. Every rank of it makes the same layers and the
/// same calls in the same order.
using Group = std::shared_ptr<Communicator>;

// Collectives on activations that autograd knows. Each returns a new tensor of the same type; with a group of
// one they return the tensor itself. `dim` counts from the end if it is negative. Megatron-LM's mappings;
// the backward of each is stated. A rank's part of a dimension is the one of its number.
// @throws std::invalid_argument the size does not divide by the number of ranks (names size and ranks).

/// Before a layer whose matrix is split: the tensor itself; backward: the sum over the ranks.
[[nodiscard]] RTRAIN_API torch::Tensor copy_to_group(const torch::Tensor& x, const Group& group);
/// Behind one: the sum over the ranks; backward: the gradient itself.
[[nodiscard]] RTRAIN_API torch::Tensor reduce_from_group(const torch::Tensor& x, const Group& group);
/// The parts of all ranks, one after the other along `dim`; backward: this rank's part of the gradient, which
/// is the same on every rank.
[[nodiscard]] RTRAIN_API torch::Tensor gather_from_group(const torch::Tensor& x, const Group& group,
                                                         std::int64_t dim = -1);
/// This rank's part of what every rank has; backward: the gradients of all ranks, one after the other.
[[nodiscard]] RTRAIN_API torch::Tensor scatter_to_group(const torch::Tensor& x, const Group& group,
                                                        std::int64_t dim = -1);

/// At the end of a sequence-parallel region: the parts of all ranks, for a layer whose matrix is split.
/// Backward: this rank's part of the sum of the ranks' gradients.
[[nodiscard]] RTRAIN_API torch::Tensor gather_from_sequence(const torch::Tensor& x, const Group& group,
                                                            std::int64_t dim = 1);
/// At its start, behind such a layer: this rank's part of the sum over the ranks; backward: the gradients of
/// all ranks, one after the other.
[[nodiscard]] RTRAIN_API torch::Tensor reduce_scatter_to_sequence(const torch::Tensor& x, const Group& group,
                                                                  std::int64_t dim = 1);

}  // namespace rtrain::parallel
