#include <rtrain/parallel/context.h>

#include "worker/parallel/require.h"
#include "worker/parallel/ring_schedule.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace rtrain::parallel {

torch::Tensor context_positions(std::int64_t length, const Group& group, SequenceOrder order,
                                torch::Device device) {
  (void)required("context_positions", group);
  const auto whole = torch::TensorOptions().dtype(torch::kInt64).device(device);
  if (group->is_alone()) return at::arange(length, whole);
  const auto chunks = chunks_of(group->rank(), group->world_size(), order);
  if (length % chunks.of != 0)
    throw std::invalid_argument("context_positions: the length is " + std::to_string(length) + ", and " +
                                std::to_string(group->world_size()) + " ranks need a multiple of " +
                                std::to_string(chunks.of) +
                                (order == SequenceOrder::kZigzag ? " (two chunks a rank, kZigzag)" : ""));
  const auto size = length / chunks.of;
  std::vector<torch::Tensor> own;
  for (const auto chunk : chunks.own) own.push_back(at::arange(chunk * size, (chunk + 1) * size, whole));
  return at::cat(own);
}

Batch context_part(const Batch& batch, const Group& group, SequenceOrder order, std::int64_t dim) {
  if (required("context_part", group)->is_alone()) return batch;
  if (dim < 0)
    throw std::invalid_argument("context_part: dim is " + std::to_string(dim) + ", expected 0 or more");
  Batch part = batch;
  torch::Tensor positions;
  std::int64_t length = -1;
  part.for_each_tensor([&](torch::Tensor& tensor) {
    if (tensor.dim() <= dim) return;
    if (length < 0) length = tensor.size(dim);
    if (tensor.size(dim) != length)
      throw std::invalid_argument("context_part: the batch has tensors of lengths " + std::to_string(length) +
                                  " and " + std::to_string(tensor.size(dim)) + " along dimension " +
                                  std::to_string(dim) +
                                  ": shift targets before, so that all have one length");
    if (!positions.defined() || positions.device() != tensor.device())
      positions = context_positions(length, group, order, tensor.device());
    tensor = tensor.index_select(dim, positions);
  });
  return part;
}

}  // namespace rtrain::parallel
