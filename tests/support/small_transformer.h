// A transformer of a few thousand parameters with what makes sharding difficult: an embedding that is the
// output layer as well, layer norms, and blocks in a ModuleList.
#pragma once

#include <torch/torch.h>

namespace rtrain::test {

struct SmallBlockImpl : torch::nn::Module {
  explicit SmallBlockImpl(std::int64_t width)
      : ln1(register_module("ln1", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})))),
        ln2(register_module("ln2", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})))),
        qkv(register_module("qkv", torch::nn::Linear(width, 3 * width))),
        proj(register_module("proj", torch::nn::Linear(width, width))),
        up(register_module("up", torch::nn::Linear(width, 2 * width))),
        down(register_module("down", torch::nn::Linear(2 * width, width))) {}
  torch::Tensor forward(torch::Tensor x) {
    const auto parts = qkv(ln1(x)).chunk(3, -1);
    x = x + proj(at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0.0, /*is_causal=*/true));
    return x + down(torch::gelu(up(ln2(x))));
  }
  torch::nn::LayerNorm ln1, ln2;
  torch::nn::Linear qkv, proj, up, down;
};
TORCH_MODULE(SmallBlock);

struct SmallTransformerImpl : torch::nn::Module {
  static constexpr std::int64_t kTokens = 29, kLength = 8, kWidth = 16;
  explicit SmallTransformerImpl(int layers = 3)
      : wte(register_module("wte", torch::nn::Embedding(kTokens, kWidth))),
        wpe(register_module("wpe", torch::nn::Embedding(kLength, kWidth))),
        blocks(register_module("blocks", torch::nn::ModuleList())),
        ln(register_module("ln", torch::nn::LayerNorm(torch::nn::LayerNormOptions({kWidth})))) {
    for (int i = 0; i < layers; ++i) blocks->push_back(SmallBlock(kWidth));
    const torch::NoGradGuard no_grad;
    wte->weight.mul_(0.2);
  }
  /// @param tokens [N, T]. @return logits [N, T, kTokens].
  torch::Tensor forward(const torch::Tensor& tokens) {
    auto x = wte(tokens) + wpe(torch::arange(tokens.size(1)));
    for (const auto& block : *blocks) x = block->as<SmallBlock>()->forward(x);
    return torch::linear(ln(x), wte->weight);
  }
  torch::nn::Embedding wte, wpe;
  torch::nn::ModuleList blocks;
  torch::nn::LayerNorm ln;
};
TORCH_MODULE(SmallTransformer);

}  // namespace rtrain::test
