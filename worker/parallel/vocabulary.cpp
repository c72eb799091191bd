#include <rtrain/parallel/vocabulary.h>

#include "worker/parallel/own_tokens.h"
#include "worker/parallel/require.h"

#include <ATen/ops/_assert_async.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>
#include <torch/nn/init.h>

#include <stdexcept>

namespace rtrain::parallel {

void require_in_vocabulary(const char* what, const torch::Tensor& tokens, std::int64_t vocabulary,
                           const torch::Tensor& excepted) {
  auto fits = (tokens >= 0).logical_and_(tokens < vocabulary);
  if (excepted.defined()) fits.logical_or_(excepted);
  if (!tokens.is_cpu()) return at::_assert_async(fits.all());
  if (fits.all().item<bool>()) return;
  throw std::invalid_argument(
      std::string(what) + ": token " +
      std::to_string(tokens.masked_select(fits.logical_not())[0].item<std::int64_t>()) +
      " is outside of the vocabulary of " + std::to_string(vocabulary));
}

VocabParallelEmbeddingImpl::VocabParallelEmbeddingImpl(const VocabParallelEmbeddingOptions& o,
                                                       const Group& group)
    : options_(o), group_(group) {
  require_positive("VocabParallelEmbedding: embedding_dim", o.embedding_dim);
  const Partition rows("VocabParallelEmbedding: num_embeddings", {o.num_embeddings, o.embedding_dim}, 0,
                       group);
  weight = register_parameter("weight", split(rows, [&](const torch::Tensor& whole) {
                                if (o.init_method)
                                  o.init_method(whole);
                                else
                                  torch::nn::init::normal_(whole);
                              }));
  first_ = rows.first();
}

torch::Tensor VocabParallelEmbeddingImpl::forward(const torch::Tensor& tokens) {
  if (group_->is_alone()) return at::embedding(weight, tokens);
  require_in_vocabulary("VocabParallelEmbedding", tokens, options_.num_embeddings);
  const auto own = own_tokens(tokens, first_, weight.size(0));
  const auto x = at::embedding(weight, own.local).masked_fill(own.mine.logical_not().unsqueeze(-1), 0);
  return options_.sequence_parallel ? reduce_scatter_to_sequence(x, group_, options_.sequence_dim)
                                    : reduce_from_group(x, group_);
}

torch::Tensor VocabParallelEmbeddingImpl::logits(const torch::Tensor& x) {
  const auto whole = options_.sequence_parallel ? gather_from_sequence(x, group_, options_.sequence_dim)
                                                : copy_to_group(x, group_);
  return at::linear(whole, weight);
}

}  // namespace rtrain::parallel
