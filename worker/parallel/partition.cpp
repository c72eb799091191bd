#include <rtrain/parallel/partition.h>

#include "worker/parallel/require.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <c10/util/accumulate.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <utility>

namespace rtrain::parallel {

Partition::Partition(const std::string& what, std::vector<std::int64_t> shape, std::int64_t dim,
                     const Group& group, std::int64_t blocks)
    : shape_(std::move(shape)), dim_(static_cast<std::size_t>(dim)), blocks_(blocks), group_(group) {
  (void)required(what, group_);
  require_positive(what + "'s blocks", blocks_);
  const auto size = shape_.at(dim_);
  require_positive(what, size);
  if (size % blocks_ != 0)
    throw std::invalid_argument(what + " is " + std::to_string(size) + ", which is not " +
                                std::to_string(blocks_) + " equal blocks");
  require_divides(blocks_ == 1 ? what : what + " / " + std::to_string(blocks_) + " blocks", size / blocks_,
                  group_->world_size());
}

std::vector<std::int64_t> Partition::part_shape() const {
  auto shape = shape_;
  shape[dim_] = part_size();
  return shape;
}

/// [..., blocks, ranks, elements of a rank in a block, ...]
std::vector<std::int64_t> Partition::in_blocks() const {
  std::vector<std::int64_t> shape(shape_.begin(), shape_.begin() + static_cast<std::ptrdiff_t>(dim_));
  shape.insert(shape.end(), {blocks_, group_->world_size(), part_size() / blocks_});
  shape.insert(shape.end(), shape_.begin() + static_cast<std::ptrdiff_t>(dim_) + 1, shape_.end());
  return shape;
}

torch::Tensor Partition::part_of(const torch::Tensor& whole) const {
  return whole.reshape(in_blocks())
      .select(static_cast<std::int64_t>(dim_) + 1, group_->rank())
      .reshape(part_shape())
      .clone(at::MemoryFormat::Contiguous);
}

StatePiece Partition::piece(const torch::Tensor& part) const {
  if (group_->is_alone()) return {part};
  const auto inner =
      c10::multiply_integers(shape_.begin() + static_cast<std::ptrdiff_t>(dim_) + 1, shape_.end());
  const auto length = part_size() / blocks_ * inner;
  return {part, shape_, group_->rank() * length,
          StateRuns{.length = length, .stride = shape_[dim_] / blocks_ * inner}};
}

torch::Tensor Partition::whole_of(const torch::Tensor& part) const {
  const torch::NoGradGuard no_grad;
  auto shape = in_blocks();
  shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(dim_) + 1);
  auto parts = group_->all_gather(part);
  for (auto& one : parts) one = one.view(shape);
  return at::stack(parts, static_cast<std::int64_t>(dim_) + 1).reshape(shape_);
}

torch::Tensor SplitLayer::split(const Partition& partition, const Initialize& initialize) {
  torch::Tensor part;
  {
    const torch::NoGradGuard no_grad;
    const auto whole = at::empty(partition.whole_shape(), at::TensorOptions().dtype(at::get_default_dtype()));
    initialize(whole);
    part = partition.part_of(whole);
  }
  part.set_requires_grad(true);
  split_.push_back({part, partition});
  return part;
}

std::vector<SplitParameter> split_parameters_of(const torch::nn::Module& module) {
  std::vector<SplitParameter> all;
  const auto add = [&](const torch::nn::Module& one) {
    if (const auto* layer = dynamic_cast<const SplitLayer*>(&one))
      all.insert(all.end(), layer->split_parameters().begin(), layer->split_parameters().end());
  };
  const std::function<void(const torch::nn::Module&)> visit = [&](const torch::nn::Module& one) {
    add(one);
    for (const auto& child : one.children()) visit(*child);
  };
  visit(module);
  return all;
}

}  // namespace rtrain::parallel
