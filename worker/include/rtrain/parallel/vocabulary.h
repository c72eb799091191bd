// A vocabulary that is split over the ranks of a tensor-parallel group.
#pragma once

#include <rtrain/export.h>
#include <rtrain/parallel/layer_holder.h>
#include <rtrain/parallel/partition.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace rtrain::parallel {

/// Megatron-LM's arguments.
struct RTRAIN_API VocabParallelEmbeddingOptions {
  std::int64_t num_embeddings = 0;  ///< of all ranks; divides by their number: pad the vocabulary
  std::int64_t embedding_dim = 0;
  bool sequence_parallel = false;  ///< the output is this rank's part of a sequence-parallel region
  std::int64_t sequence_dim = 1;   ///< of the output, with sequence_parallel
  /// Fills the weight [num_embeddings, embedding_dim]; default: as torch::nn::Embedding.
  std::function<void(torch::Tensor)> init_method{};
};

/// torch::nn::Embedding with the rows of its weight split over the ranks: rank r holds the tokens from
/// r * num_embeddings / ranks on. Names and whole shapes in checkpoints are those of Embedding.
class RTRAIN_API VocabParallelEmbeddingImpl : public torch::nn::Module, public SplitLayer {
 public:
  /// @throws std::invalid_argument a size below 1, or a vocabulary that does not divide (names size, ranks).
  VocabParallelEmbeddingImpl(const VocabParallelEmbeddingOptions& options, const Group& group);
  /// @param tokens int64 of any shape, the same on every rank. @return [..., embedding_dim], the same on
  /// every
  ///        rank; with sequence_parallel this rank's part.
  /// @throws std::invalid_argument on the CPU: a token outside of the vocabulary (names it).
  [[nodiscard]] torch::Tensor forward(const torch::Tensor& tokens);
  /// The output layer of a model that ties it to the embedding.
  /// @param x [..., embedding_dim], the same on every rank; with sequence_parallel this rank's part.
  /// @return this rank's logits [..., num_embeddings / ranks], for vocab_parallel_cross_entropy().
  [[nodiscard]] torch::Tensor logits(const torch::Tensor& x);

  torch::Tensor weight;  ///< [num_embeddings / ranks, embedding_dim]

 private:
  VocabParallelEmbeddingOptions options_;
  Group group_;
  std::int64_t first_;  ///< token of this rank
};
/// Its holder: VocabParallelEmbedding({...}, group).
using VocabParallelEmbedding = LayerHolder<VocabParallelEmbeddingImpl, VocabParallelEmbeddingOptions>;

/// torch::nn::functional::cross_entropy's.
struct RTRAIN_API VocabParallelCrossEntropyOptions {
  enum class Reduction { kNone, kMean, kSum };
  std::int64_t ignore_index = -100;  ///< targets that have no loss; kMean divides by the others
  Reduction reduction = Reduction::kMean;
};

/// The cross entropy of logits of which each rank has the part of its tokens. No rank ever has all of them:
/// each position costs three numbers of messages. Half-precision logits are computed in float32.
/// @param logits [..., vocabulary / ranks]. @param target int64 [...], whole tokens, the same on every rank.
/// @return float32 (float64 of float64 logits), the same on every rank: a scalar, or [...] with kNone.
/// @throws std::invalid_argument shapes that do not fit (names them); on the CPU: a target outside of the
///         vocabulary.
[[nodiscard]] RTRAIN_API torch::Tensor vocab_parallel_cross_entropy(
    const torch::Tensor& logits, const torch::Tensor& target, const Group& group,
    const VocabParallelCrossEntropyOptions& options = {});

}  // namespace rtrain::parallel
