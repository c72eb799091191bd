// Which elements of a parameter a rank of a tensor-parallel group holds.
#pragma once

#include <rtrain/export.h>
#include <rtrain/parallel/group.h>
#include <rtrain/state_tree.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace rtrain::parallel {

/// The cut of a tensor along one dimension into as many equal parts as a group has ranks. With several blocks
/// each block of the dimension is cut, and a rank holds its part of each: a matrix that computes queries,
/// keys and values at once has 3, so that a rank gets the same heads of all three.
class RTRAIN_API Partition {
 public:
  /// @param shape of the whole tensor. @param dim from 0.
  /// @throws std::invalid_argument the blocks do not divide by the number of ranks; `what`
  /// ("ColumnParallelLinear:
  ///         out_features") begins the message, which names size, blocks and ranks.
  Partition(const std::string& what, std::vector<std::int64_t> shape, std::int64_t dim, const Group& group,
            std::int64_t blocks = 1);

  [[nodiscard]] const std::vector<std::int64_t>& whole_shape() const { return shape_; }
  [[nodiscard]] std::vector<std::int64_t> part_shape() const;
  [[nodiscard]] const Group& group() const { return group_; }
  /// Of the dimension that is cut: elements that this rank holds.
  [[nodiscard]] std::int64_t part_size() const { return shape_[dim_] / group_->world_size(); }
  /// The same: the first that it holds. Meaningful with one block.
  [[nodiscard]] std::int64_t first() const { return group_->rank() * part_size(); }

  /// This rank's elements of `whole`, in memory of their own.
  [[nodiscard]] torch::Tensor part_of(const torch::Tensor& whole) const;
  /// `part` is this rank's part of a tensor of whole_shape(). With a group of one: it is whole.
  [[nodiscard]] StatePiece piece(const torch::Tensor& part) const;
  /// The whole tensor, on every rank. A collective, without gradients.
  [[nodiscard]] torch::Tensor whole_of(const torch::Tensor& part) const;

 private:
  [[nodiscard]] std::vector<std::int64_t> in_blocks() const;
  std::vector<std::int64_t> shape_;
  std::size_t dim_;
  std::int64_t blocks_;
  Group group_;
};

/// A parameter of which each rank of a group holds a part.
struct RTRAIN_API SplitParameter {
  torch::Tensor tensor;  ///< this rank's part
  Partition partition;
};

/// The base of layers with such parameters, of a user's own, too: checkpoints, clipping and optimizers find
/// them by it. A layer derives from torch::nn::Module and from it.
class RTRAIN_API SplitLayer {
 public:
  virtual ~SplitLayer() = default;
  [[nodiscard]] const std::vector<SplitParameter>& split_parameters() const { return split_; }

 protected:
  /// What fills a parameter with its first values.
  using Initialize = std::function<void(torch::Tensor whole)>;
  /// Draws the whole parameter and keeps this rank's part of it, so that the values are those of the whole
  /// layer with the same seed, and the random generator ends in the same state on every rank.
  [[nodiscard]] torch::Tensor split(const Partition& partition, const Initialize& initialize);

 private:
  std::vector<SplitParameter> split_;
};

/// Those of all layers of the module. The tensors are the parameters themselves.
[[nodiscard]] RTRAIN_API std::vector<SplitParameter> split_parameters_of(const torch::nn::Module& module);

}  // namespace rtrain::parallel
