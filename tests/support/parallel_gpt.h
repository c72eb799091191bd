// A small GPT with a tied vocabulary: of LibTorch's layers, and of parallel ones with the same names, shapes
// and first values.
#pragma once

#include <rtrain/parallel.h>

#include <torch/torch.h>

#include <cstdint>

namespace rtrain::test {

struct GptSizes {
  std::int64_t vocabulary = 36, length = 16, width = 16, heads = 4, layers = 2;
};

struct WholeBlockImpl : torch::nn::Module {
  explicit WholeBlockImpl(const GptSizes& s)
      : heads(s.heads),
        ln1(register_module("ln1", torch::nn::LayerNorm(torch::nn::LayerNormOptions({s.width})))),
        qkv(register_module("qkv", torch::nn::Linear(s.width, 3 * s.width))),
        proj(register_module("proj", torch::nn::Linear(s.width, s.width))),
        ln2(register_module("ln2", torch::nn::LayerNorm(torch::nn::LayerNormOptions({s.width})))),
        up(register_module("up", torch::nn::Linear(s.width, 4 * s.width))),
        down(register_module("down", torch::nn::Linear(4 * s.width, s.width))) {}
  torch::Tensor forward(torch::Tensor x) {
    const auto parts = qkv(ln1(x)).view({x.size(0), x.size(1), 3, heads, -1}).permute({2, 0, 3, 1, 4});
    const auto mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0, true);
    x = x + proj(mixed.transpose(1, 2).flatten(2));
    return x + down(at::gelu(up(ln2(x))));
  }
  std::int64_t heads;
  torch::nn::LayerNorm ln1;
  torch::nn::Linear qkv, proj;
  torch::nn::LayerNorm ln2;
  torch::nn::Linear up, down;
};
TORCH_MODULE(WholeBlock);

struct WholeGptImpl : torch::nn::Module {
  explicit WholeGptImpl(const GptSizes& s = {})
      : wte(register_module("wte", torch::nn::Embedding(s.vocabulary, s.width))),
        wpe(register_module("wpe", torch::nn::Embedding(s.length, s.width))),
        blocks(register_module("blocks", torch::nn::ModuleList())),
        ln(register_module("ln", torch::nn::LayerNorm(torch::nn::LayerNormOptions({s.width})))) {
    for (std::int64_t i = 0; i < s.layers; ++i) blocks->push_back(WholeBlock(s));
  }
  /// @param tokens, target [N, T]. @return the mean loss.
  torch::Tensor loss(const torch::Tensor& tokens, const torch::Tensor& target) {
    auto x = wte(tokens) + wpe(torch::arange(tokens.size(1)));
    for (const auto& block : *blocks) x = block->as<WholeBlock>()->forward(x);
    return torch::cross_entropy_loss(at::linear(ln(x), wte->weight).flatten(0, 1), target.flatten());
  }
  torch::nn::Embedding wte, wpe;
  torch::nn::ModuleList blocks;
  torch::nn::LayerNorm ln;
};
TORCH_MODULE(WholeGpt);

/// The ranks that share it.
struct GptRanks {
  parallel::Group tensor = Communicator::alone();
  parallel::Group context = Communicator::alone();
  bool sequence_parallel = false;
};

struct ParallelBlockImpl : torch::nn::Module {
  ParallelBlockImpl(const GptSizes& s, const GptRanks& r)
      : heads(s.heads / r.tensor->world_size()),
        ranks(r),
        ln1(register_norm("ln1", s)),
        qkv(register_module("qkv", parallel::ColumnParallelLinear({.in_features = s.width,
                                                                   .out_features = 3 * s.width,
                                                                   .sequence_parallel = r.sequence_parallel,
                                                                   .blocks = 3},
                                                                  r.tensor))),
        proj(register_module("proj", parallel::RowParallelLinear({.in_features = s.width,
                                                                  .out_features = s.width,
                                                                  .sequence_parallel = r.sequence_parallel},
                                                                 r.tensor))),
        ln2(register_norm("ln2", s)),
        up(register_module("up", parallel::ColumnParallelLinear({.in_features = s.width,
                                                                 .out_features = 4 * s.width,
                                                                 .sequence_parallel = r.sequence_parallel},
                                                                r.tensor))),
        down(register_module("down", parallel::RowParallelLinear({.in_features = 4 * s.width,
                                                                  .out_features = s.width,
                                                                  .sequence_parallel = r.sequence_parallel},
                                                                 r.tensor))) {}
  torch::Tensor forward(torch::Tensor x) {
    const auto all = qkv(normed(ln1, x));
    const auto parts = all.view({all.size(0), all.size(1), 3, heads, -1}).permute({2, 0, 3, 1, 4});
    const auto mixed =
        parallel::ring_attention(parts[0], parts[1], parts[2], ranks.context, {.is_causal = true});
    x = x + proj(mixed.transpose(1, 2).flatten(2));
    return x + down(at::gelu(up(normed(ln2, x))));
  }
  /// LayerNorm, or SequenceParallelLayerNorm where each rank sees a part of the sequence.
  torch::Tensor normed(const std::shared_ptr<torch::nn::LayerNormImpl>& norm, const torch::Tensor& x) const {
    if (const auto summed = std::dynamic_pointer_cast<parallel::SequenceParallelLayerNormImpl>(norm))
      return summed->forward(x);
    return norm->forward(x);
  }
  std::shared_ptr<torch::nn::LayerNormImpl> register_norm(const std::string& name, const GptSizes& s) {
    const torch::nn::LayerNormOptions of({s.width});
    if (ranks.sequence_parallel)
      return register_module(name,
                             std::make_shared<parallel::SequenceParallelLayerNormImpl>(of, ranks.tensor));
    return register_module(name, std::make_shared<torch::nn::LayerNormImpl>(of));
  }
  std::int64_t heads;
  GptRanks ranks;
  std::shared_ptr<torch::nn::LayerNormImpl> ln1;
  parallel::ColumnParallelLinear qkv;
  parallel::RowParallelLinear proj;
  std::shared_ptr<torch::nn::LayerNormImpl> ln2;
  parallel::ColumnParallelLinear up;
  parallel::RowParallelLinear down;
};
TORCH_MODULE(ParallelBlock);

struct ParallelGptImpl : torch::nn::Module {
  ParallelGptImpl(const GptSizes& s, const GptRanks& r)
      : ranks(r),
        wte(register_module("wte",
                            parallel::VocabParallelEmbedding({.num_embeddings = s.vocabulary,
                                                              .embedding_dim = s.width,
                                                              .sequence_parallel = r.sequence_parallel},
                                                             r.tensor))),
        wpe(register_module("wpe", torch::nn::Embedding(s.length, s.width))),
        blocks(register_module("blocks", torch::nn::ModuleList())) {
    for (std::int64_t i = 0; i < s.layers; ++i) blocks->push_back(ParallelBlock(s, r));
    const torch::nn::LayerNormOptions of({s.width});
    ln = register_module("ln", torch::nn::LayerNorm(of));
  }
  /// @param whole the batch that all ranks of the context group have.
  torch::Tensor loss(const Batch& whole) {
    const auto batch = parallel::context_part(whole, ranks.context);
    auto positions = parallel::context_positions(whole.input.size(1), ranks.context);
    auto table = wpe->weight;
    if (ranks.sequence_parallel) {
      positions = parallel::scatter_to_group(positions, ranks.tensor, 0);
      table = parallel::copy_to_group(table, ranks.tensor);
    }
    auto x = wte(batch.input) + at::embedding(table, positions);
    for (const auto& block : *blocks) x = block->as<ParallelBlock>()->forward(x);
    const auto part = [&](const torch::Tensor& p) {
      return ranks.sequence_parallel ? parallel::copy_to_group(p, ranks.tensor) : p;
    };
    x = at::layer_norm(x, {x.size(-1)}, part(ln->weight), part(ln->bias));
    return parallel::vocab_parallel_cross_entropy(wte->logits(x), batch.target, ranks.tensor);
  }
  GptRanks ranks;
  parallel::VocabParallelEmbedding wte;
  torch::nn::Embedding wpe;
  torch::nn::ModuleList blocks;
  torch::nn::LayerNorm ln{nullptr};
};
TORCH_MODULE(ParallelGpt);

}  // namespace rtrain::test
