#include "examples/gpt2/model.h"

#include <torch/nn/functional/activation.h>
#include <torch/nn/functional/linear.h>
#include <torch/nn/init.h>

#include <ATen/ops/arange.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <cmath>
#include <stdexcept>
#include <string>

namespace gpt2 {
namespace nn = torch::nn;
namespace {

nn::LayerNorm norm_of(std::int64_t width) { return nn::LayerNorm(nn::LayerNormOptions({width})); }

}  // namespace

Block::Block(const Sizes& sizes) : heads(sizes.heads) {
  const auto width = sizes.width;
  before_attention = register_module("before_attention", norm_of(width));
  qkv = register_module("qkv", nn::Linear(width, 3 * width));
  attended = register_module("attended", nn::Linear(width, width));
  before_mlp = register_module("before_mlp", norm_of(width));
  wide = register_module("wide", nn::Linear(width, 4 * width));
  narrow = register_module("narrow", nn::Linear(4 * width, width));
}

torch::Tensor Block::forward(const torch::Tensor& x) {
  const auto samples = x.size(0), length = x.size(1), width = x.size(2);
  const auto parts =
      qkv(before_attention(x)).view({samples, length, 3, heads, width / heads}).permute({2, 0, 3, 1, 4});
  const auto mixed =
      at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0.0, /*is_causal=*/true);
  const auto y = x + attended(mixed.transpose(1, 2).reshape({samples, length, width}));
  const auto gelu = nn::functional::GELUFuncOptions().approximate("tanh");
  return y + narrow(nn::functional::gelu(wide(before_mlp(y)), gelu));
}

Model::Model(const Sizes& sizes) {
  if (sizes.heads < 1 || sizes.width % sizes.heads != 0) {
    throw std::invalid_argument("GPT-2: width is " + std::to_string(sizes.width) +
                                ", expected a multiple of heads, " + std::to_string(sizes.heads));
  }
  tokens = register_module("tokens", nn::Embedding(sizes.vocabulary, sizes.width));
  positions = register_module("positions", nn::Embedding(sizes.context, sizes.width));
  for (std::int64_t i = 0; i < sizes.layers; ++i) {
    blocks.push_back(register_module("block" + std::to_string(i), std::make_shared<Block>(sizes)));
  }
  last = register_module("last", norm_of(sizes.width));
  // Small at the beginning, the layers that add to the stream the smaller the more of them there are.
  const double small = 0.02, added = small / std::sqrt(2.0 * static_cast<double>(sizes.layers));
  nn::init::normal_(tokens->weight, 0, small);
  nn::init::normal_(positions->weight, 0, small);
  for (const auto& block : blocks) {
    for (auto* layer : {&block->qkv, &block->attended, &block->wide, &block->narrow}) {
      const bool adds = layer == &block->attended || layer == &block->narrow;
      nn::init::normal_((*layer)->weight, 0, adds ? added : small);
      nn::init::zeros_((*layer)->bias);
    }
  }
}

torch::Tensor Model::forward(const torch::Tensor& ids) {
  auto x = tokens(ids) + positions(at::arange(ids.size(1), ids.options()));
  for (const auto& block : blocks) x = block->forward(x);
  return nn::functional::linear(last(x), tokens->weight);
}

}  // namespace gpt2
