// GPT-2: a decoder with learned positions, whose output layer is the embedding of its tokens. Names and
// shapes are Hugging Face's: wte.weight, h.0.attn.c_attn.weight, ln_f.bias; the weights of its projections
// are [in, out].
#pragma once

#include <rtrain/export.h>
#include <rtrain/parallel/pipeline.h>
#include <rtrain/weights.h>

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

namespace rtrain::models {

/// The defaults are those of the smallest one, of 124 million parameters.
struct RTRAIN_API GPT2Options {
  std::int64_t vocab_size = 50257;
  std::int64_t n_positions = 1024;  ///< tokens of the longest sequence
  std::int64_t n_embd = 768;
  std::int64_t n_layer = 12;
  std::int64_t n_head = 12;  ///< divides n_embd
  double dropout = 0.1;      ///< of embeddings, attention and what each layer adds
};

/// Initial values are drawn from GPT-2's distributions.
class RTRAIN_API GPT2Impl : public torch::nn::Module {
 public:
  /// @throws std::invalid_argument n_embd is no multiple of n_head.
  explicit GPT2Impl(const GPT2Options& options = {});
  /// @param tokens int64 [N, T], T at most n_positions. @return logits of the next token [N, T, vocab_size].
  /// @throws std::invalid_argument too many tokens.
  torch::Tensor forward(const torch::Tensor& tokens);
  /// forward() as layers: the embeddings, each block, and the output layer, which reads the first one's
  /// embedding. For PipelineModule.
  [[nodiscard]] parallel::PipelineLayers pipeline_layers();
  /// Continues `tokens` [N, T] by `count` tokens, each drawn from the `top_k` most likely ones (0: all).
  /// @param temperature above 0; the lower, the likelier are the likely ones. Draws from the default
  /// generator
  ///        of the tokens' device. Sequences longer than n_positions are read from their end.
  torch::Tensor generate(torch::Tensor tokens, std::int64_t count, double temperature = 1.0,
                         std::int64_t top_k = 0);
  [[nodiscard]] const GPT2Options& options() const { return options_; }

  torch::nn::Embedding wte{nullptr}, wpe{nullptr};
  torch::nn::Dropout drop{nullptr};
  torch::nn::ModuleList h{nullptr};
  torch::nn::LayerNorm ln_f{nullptr};

 private:
  [[nodiscard]] torch::Tensor embedded(const torch::Tensor& tokens);
  GPT2Options options_;
};
TORCH_MODULE(GPT2);

[[nodiscard]] RTRAIN_API GPT2Options gpt2_medium();  ///< 355 million parameters
[[nodiscard]] RTRAIN_API GPT2Options gpt2_large();   ///< 774 million
[[nodiscard]] RTRAIN_API GPT2Options gpt2_xl();      ///< 1558 million

/// load_weights() of a file of GPT2Model or GPT2LMHeadModel: with or without "transformer." before the names,
/// the output layer, and the masks that older files hold.
RTRAIN_API LoadedWeights load_gpt2(GPT2Impl& model, const std::filesystem::path& path);

}  // namespace rtrain::models
