// Context parallelism: each rank of a group has a part of every sequence.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/export.h>
#include <rtrain/parallel/group.h>

#include <torch/types.h>

#include <cstdint>
#include <optional>

namespace rtrain::parallel {

/// Which positions of a sequence a rank has. Causal attention costs more the later a position is.
enum class SequenceOrder {
  /// Chunks r and 2 N - 1 - r of 2 N: an early and a late one, so that N ranks have equal work. For causal
  /// attention.
  kZigzag,
  kContiguous,  ///< part r of N
};

/// The positions of the whole sequence that this rank has, in the order in which it has them: int64 [length /
/// ranks] on `device`. For position embeddings, and to index what belongs to positions.
/// @throws std::invalid_argument the length does not divide by 2 * ranks (kZigzag) or ranks.
[[nodiscard]] RTRAIN_API torch::Tensor context_positions(std::int64_t length, const Group& group,
                                                         SequenceOrder order = SequenceOrder::kZigzag,
                                                         torch::Device device = torch::kCPU);

/// This rank's part of a batch that all ranks of the group have: each tensor's elements at
/// context_positions() along `dim`. Tensors of fewer dimensions (labels of whole sequences) stay whole.
/// Targets must be shifted before, because a part's neighbours are elsewhere. torch's
/// context_parallel(buffers).
/// @throws std::invalid_argument tensors of different lengths, or a length that does not divide.
[[nodiscard]] RTRAIN_API Batch context_part(const Batch& batch, const Group& group,
                                            SequenceOrder order = SequenceOrder::kZigzag,
                                            std::int64_t dim = 1);

/// torch::scaled_dot_product_attention's, as far as they make sense here.
struct RTRAIN_API RingAttentionOptions {
  bool is_causal = false;
  /// How the sequences are cut; must be that of context_part(). kContiguous with is_causal is right, too, but
  /// the last rank has the most work.
  SequenceOrder order = SequenceOrder::kZigzag;
  std::optional<double> scale{};  ///< default: 1 / sqrt(head size)
};

/// Exact attention over sequences that are cut over the ranks of `group`: keys and values travel around the
/// ring of ranks, and each rank joins the results by their log-sum-exp (Liu et al., "Ring Attention with
/// Blockwise Transformers for Near-Infinite Context", 2023). Memory is that of a rank's part. The next keys
/// and values travel while the current ones are computed with. With a group of one: attention as it is.
/// Each block runs the kernel that scaled_dot_product_attention() would choose (flash, efficient, cuDNN), or
/// where there is none for the types, plain matrix products.
/// @param q, k, v [N, heads, length / ranks, head size], of one shape and type. @return as q.
/// @throws std::invalid_argument shapes or types that differ, an odd length with kZigzag and is_causal.
[[nodiscard]] RTRAIN_API torch::Tensor ring_attention(const torch::Tensor& q, const torch::Tensor& k,
                                                      const torch::Tensor& v, const Group& group,
                                                      const RingAttentionOptions& options = {});

}  // namespace rtrain::parallel
