// Linear layers whose matrix is split over the ranks of a tensor-parallel group.
#pragma once

#include <rtrain/export.h>
#include <rtrain/parallel/layer_holder.h>
#include <rtrain/parallel/partition.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>

namespace rtrain::parallel {

/// Megatron-LM's arguments.
struct RTRAIN_API ColumnParallelLinearOptions {
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;  ///< of all ranks; each block of it divides by the number of ranks
  bool bias = true;
  /// Every rank gets the outputs of all; default: its own, [..., out_features / ranks], which is what
  /// RowParallelLinear takes.
  bool gather_output = false;
  /// The input is this rank's part of a sequence-parallel region, and the layer gathers it.
  bool sequence_parallel = false;
  std::int64_t sequence_dim = 1;  ///< of the input, with sequence_parallel
  /// Layers that the matrix computes at once, side by side: 3 for queries, keys and values (Megatron's
  /// stride). A rank's output is its part of the first, then of the second, and so on.
  std::int64_t blocks = 1;
  /// Fills the weight [out_features, in_features]; default: as torch::nn::Linear.
  std::function<void(torch::Tensor)> init_method{};
};

/// torch::nn::Linear with the rows of its weight split over the ranks, torch's ColwiseParallel: y = x A^T +
/// b, A = [A_0; A_1; ...]. The weight is [out_features / ranks, in_features], the bias [out_features /
/// ranks]. Names and whole shapes in checkpoints are those of Linear.
class RTRAIN_API ColumnParallelLinearImpl : public torch::nn::Module, public SplitLayer {
 public:
  /// @throws std::invalid_argument a size below 1, or one that does not divide (names layer, size, ranks).
  ColumnParallelLinearImpl(const ColumnParallelLinearOptions& options, const Group& group);
  /// @param x [..., in_features], the same on every rank; with sequence_parallel this rank's part of it.
  [[nodiscard]] torch::Tensor forward(const torch::Tensor& x);

  torch::Tensor weight, bias;  ///< this rank's part; bias undefined without one

 private:
  ColumnParallelLinearOptions options_;
  Group group_;
};
/// Its holder: ColumnParallelLinear({...}, group).
using ColumnParallelLinear = LayerHolder<ColumnParallelLinearImpl, ColumnParallelLinearOptions>;

/// Megatron-LM's arguments.
struct RTRAIN_API RowParallelLinearOptions {
  std::int64_t in_features = 0;  ///< of all ranks; divides by their number
  std::int64_t out_features = 0;
  bool bias = true;
  /// The input is [..., in_features / ranks], as ColumnParallelLinear gives it; false: it is whole, and the
  /// layer takes its part.
  bool input_is_parallel = true;
  /// The output is this rank's part of a sequence-parallel region.
  bool sequence_parallel = false;
  std::int64_t sequence_dim = 1;  ///< of the output, with sequence_parallel; divides by the number of ranks
  /// Fills the weight [out_features, in_features]; default: as torch::nn::Linear.
  std::function<void(torch::Tensor)> init_method{};
};

/// torch::nn::Linear with the columns of its weight split over the ranks, torch's RowwiseParallel: y = sum of
/// x_i A_i^T, + b. The weight is [out_features, in_features / ranks]; the bias is whole on every rank, and
/// added once. Names and whole shapes in checkpoints are those of Linear.
class RTRAIN_API RowParallelLinearImpl : public torch::nn::Module, public SplitLayer {
 public:
  /// @throws std::invalid_argument a size below 1, or one that does not divide (names layer, size, ranks).
  RowParallelLinearImpl(const RowParallelLinearOptions& options, const Group& group);
  /// @return [..., out_features], the same on every rank; with sequence_parallel this rank's part.
  [[nodiscard]] torch::Tensor forward(const torch::Tensor& x);

  torch::Tensor weight, bias;  ///< bias undefined without one

 private:
  RowParallelLinearOptions options_;
  Group group_;
};
/// Its holder: RowParallelLinear({...}, group).
using RowParallelLinear = LayerHolder<RowParallelLinearImpl, RowParallelLinearOptions>;

}  // namespace rtrain::parallel
