// A decoder as Llama's: rotary positions, RMS norms, gated MLPs, key and value heads that query heads share.
// Names and shapes are Hugging Face's: model.embed_tokens.weight, model.layers.0.self_attn.q_proj.weight,
// lm_head.weight, so that load_weights() reads its files, model.safetensors.index.json among them.
#pragma once

#include <rtrain/export.h>
#include <rtrain/parallel/pipeline.h>

#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <optional>

namespace rtrain::models {

/// The defaults are those of LlamaConfig, which are Llama-2-7B's.
struct RTRAIN_API LlamaOptions {
  std::int64_t vocab_size = 32000;
  std::int64_t hidden_size = 4096;
  std::int64_t intermediate_size = 11008;
  std::int64_t num_hidden_layers = 32;
  std::int64_t num_attention_heads = 32;              ///< divides hidden_size
  std::optional<std::int64_t> num_key_value_heads{};  ///< divides num_attention_heads; default: as many
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  bool tie_word_embeddings = false;  ///< the output layer is the embedding, and there is no lm_head
};

/// Initial values are drawn from Hugging Face's distributions.
class RTRAIN_API LlamaImpl : public torch::nn::Module {
 public:
  /// @throws std::invalid_argument sizes that do not divide.
  explicit LlamaImpl(const LlamaOptions& options = {});
  /// @param tokens int64 [N, T]. @return logits of the next token [N, T, vocab_size].
  torch::Tensor forward(const torch::Tensor& tokens);
  /// forward() as layers: the embedding, each block, and the norm with the output layer. For PipelineModule.
  [[nodiscard]] parallel::PipelineLayers pipeline_layers();

  std::shared_ptr<torch::nn::Module> model;
  torch::nn::Linear lm_head{nullptr};  ///< empty with tie_word_embeddings
};
TORCH_MODULE(Llama);

}  // namespace rtrain::models
