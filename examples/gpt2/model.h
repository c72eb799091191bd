// GPT-2's decoder: learned positions, layer norms before attention and MLP, the output layer is the embedding
// of the tokens.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace gpt2 {

struct Sizes {  // of the 124 million parameters
  std::int64_t vocabulary = 50257, context = 1024, layers = 12, heads = 12, width = 768;
};

struct Block : torch::nn::Module {
  Block(const Sizes& sizes);
  torch::Tensor forward(const torch::Tensor& x);
  std::int64_t heads;
  torch::nn::LayerNorm before_attention{nullptr}, before_mlp{nullptr};
  torch::nn::Linear qkv{nullptr}, attended{nullptr}, wide{nullptr}, narrow{nullptr};
};

struct Model : torch::nn::Module {
  explicit Model(const Sizes& sizes);
  /// @param tokens int64 [N, T], T <= context. @return logits [N, T, vocabulary].
  torch::Tensor forward(const torch::Tensor& tokens);
  torch::nn::Embedding tokens{nullptr}, positions{nullptr};
  std::vector<std::shared_ptr<Block>> blocks;
  torch::nn::LayerNorm last{nullptr};
};

}  // namespace gpt2
