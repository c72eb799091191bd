#include <rtrain/models/llama.h>

#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/embedding.h>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace rtrain::models {
namespace {

namespace nn = torch::nn;

nn::Linear projection(std::int64_t in, std::int64_t out) {
  return nn::Linear(nn::LinearOptions(in, out).bias(false));
}

/// What rotates pairs of a head by angles that grow with the position: [T, head], halves alike.
struct Rotation {
  torch::Tensor cos, sin;

  /// Angles are computed in float32, as Hugging Face's are, whatever the model's type is.
  Rotation(std::int64_t length, std::int64_t head, double theta, const torch::Tensor& like) {
    const auto in = torch::dtype(torch::kFloat32).device(like.device());
    const auto frequencies =
        at::pow(theta, at::arange(0, head, 2, in) / static_cast<double>(head)).reciprocal();
    const auto angles = at::arange(length, in).unsqueeze(1) * frequencies.unsqueeze(0);
    const auto both = at::cat({angles, angles}, -1);
    cos = both.cos().to(like.scalar_type());
    sin = both.sin().to(like.scalar_type());
  }
  [[nodiscard]] torch::Tensor operator()(const torch::Tensor& x) const {
    const auto halves = x.chunk(2, -1);
    return x * cos + at::cat({-halves[1], halves[0]}, -1) * sin;
  }
};

class RMSNormImpl : public nn::Module {
 public:
  RMSNormImpl(std::int64_t width, double eps)
      : eps_(eps), weight_(register_parameter("weight", at::ones({width}))) {}
  torch::Tensor forward(const torch::Tensor& x) { return at::rms_norm(x, {weight_.size(0)}, weight_, eps_); }

 private:
  double eps_;
  torch::Tensor weight_;
};
TORCH_MODULE(RMSNorm);

class LlamaAttentionImpl : public nn::Module {
 public:
  explicit LlamaAttentionImpl(const LlamaOptions& o)
      : heads_(o.num_attention_heads),
        kv_heads_(o.num_key_value_heads.value_or(heads_)),
        head_(o.hidden_size / heads_),
        q_proj_(register_module("q_proj", projection(o.hidden_size, heads_ * head_))),
        k_proj_(register_module("k_proj", projection(o.hidden_size, kv_heads_ * head_))),
        v_proj_(register_module("v_proj", projection(o.hidden_size, kv_heads_ * head_))),
        o_proj_(register_module("o_proj", projection(heads_ * head_, o.hidden_size))) {}
  torch::Tensor forward(const torch::Tensor& x, const Rotation& rotate) {
    const auto samples = x.size(0), length = x.size(1);
    const auto split = [&](const torch::Tensor& all, std::int64_t heads) {
      return all.view({samples, length, heads, head_}).transpose(1, 2);
    };
    const auto mixed = at::scaled_dot_product_attention(
        rotate(split(q_proj_(x), heads_)), rotate(split(k_proj_(x), kv_heads_)), split(v_proj_(x), kv_heads_),
        {}, 0.0, /*is_causal=*/true, std::nullopt, /*enable_gqa=*/kv_heads_ != heads_);
    return o_proj_(mixed.transpose(1, 2).reshape({samples, length, heads_ * head_}));
  }

 private:
  std::int64_t heads_, kv_heads_, head_;
  nn::Linear q_proj_, k_proj_, v_proj_, o_proj_;
};
TORCH_MODULE(LlamaAttention);

class LlamaMLPImpl : public nn::Module {
 public:
  explicit LlamaMLPImpl(const LlamaOptions& o)
      : gate_proj_(register_module("gate_proj", projection(o.hidden_size, o.intermediate_size))),
        up_proj_(register_module("up_proj", projection(o.hidden_size, o.intermediate_size))),
        down_proj_(register_module("down_proj", projection(o.intermediate_size, o.hidden_size))) {}
  torch::Tensor forward(const torch::Tensor& x) { return down_proj_(at::silu(gate_proj_(x)) * up_proj_(x)); }

 private:
  nn::Linear gate_proj_, up_proj_, down_proj_;
};
TORCH_MODULE(LlamaMLP);

class LlamaLayer : public nn::Module {
 public:
  explicit LlamaLayer(const LlamaOptions& o)
      : self_attn_(register_module("self_attn", LlamaAttention(o))),
        mlp_(register_module("mlp", LlamaMLP(o))),
        input_layernorm_(register_module("input_layernorm", RMSNorm(o.hidden_size, o.rms_norm_eps))),
        post_attention_layernorm_(
            register_module("post_attention_layernorm", RMSNorm(o.hidden_size, o.rms_norm_eps))) {}
  torch::Tensor forward(const torch::Tensor& input, const Rotation& rotate) {
    const auto x = input + self_attn_->forward(input_layernorm_(input), rotate);
    return x + mlp_(post_attention_layernorm_(x));
  }

 private:
  LlamaAttention self_attn_;
  LlamaMLP mlp_;
  RMSNorm input_layernorm_, post_attention_layernorm_;
};

class LlamaDecoder : public nn::Module {
 public:
  explicit LlamaDecoder(const LlamaOptions& o)
      : embed_tokens(register_module("embed_tokens", nn::Embedding(o.vocab_size, o.hidden_size))),
        head_(o.hidden_size / o.num_attention_heads),
        theta_(o.rope_theta),
        layers_(register_module("layers", nn::ModuleList())) {
    for (std::int64_t i = 0; i < o.num_hidden_layers; ++i)
      layers_->push_back(std::make_shared<LlamaLayer>(o));
    norm_ = register_module("norm", RMSNorm(o.hidden_size, o.rms_norm_eps));
  }
  torch::Tensor forward(const torch::Tensor& tokens) {
    auto x = embed_tokens(tokens);
    const Rotation rotate(tokens.size(1), head_, theta_, x);
    for (const auto& layer : *layers_) x = std::static_pointer_cast<LlamaLayer>(layer)->forward(x, rotate);
    return norm_(x);
  }
  /// All but the output layer, and without the norm, which goes with it.
  [[nodiscard]] parallel::PipelineLayers pipeline_layers() {
    parallel::PipelineLayers layers;
    layers.push_back({.forward = [this](const torch::Tensor& tokens) { return embed_tokens(tokens); },
                      .modules = {embed_tokens.ptr()},
                      .cost = 0});
    for (const auto& module : *layers_) {
      const auto layer = std::static_pointer_cast<LlamaLayer>(module);
      layers.push_back({.forward =
                            [layer, head = head_, theta = theta_](const torch::Tensor& x) {
                              return layer->forward(x, Rotation(x.size(1), head, theta, x));
                            },
                        .modules = {layer}});
    }
    return layers;
  }
  [[nodiscard]] std::shared_ptr<RMSNormImpl> norm() const { return norm_.ptr(); }

  nn::Embedding embed_tokens;

 private:
  std::int64_t head_;
  double theta_;
  nn::ModuleList layers_;
  RMSNorm norm_{nullptr};
};

}  // namespace

LlamaImpl::LlamaImpl(const LlamaOptions& o) {
  const auto require = [](std::int64_t size, const char* whole, std::int64_t by, const char* part) {
    if (by < 1 || size < 1 || size % by != 0)
      throw std::invalid_argument("Llama: " + std::string(whole) + " is " + std::to_string(size) +
                                  ", expected a multiple of " + part + ", " + std::to_string(by));
  };
  require(o.hidden_size, "hidden_size", 2 * o.num_attention_heads, "twice num_attention_heads");
  require(o.num_attention_heads, "num_attention_heads", o.num_key_value_heads.value_or(o.num_attention_heads),
          "num_key_value_heads");
  auto decoder = std::make_shared<LlamaDecoder>(o);
  model = register_module("model", decoder);
  if (!o.tie_word_embeddings) lm_head = register_module("lm_head", projection(o.hidden_size, o.vocab_size));
  for (auto& item : named_parameters())
    if (item.value().dim() == 2) nn::init::normal_(item.value(), 0, 0.02);
}

torch::Tensor LlamaImpl::forward(const torch::Tensor& tokens) {
  const auto decoder = std::static_pointer_cast<LlamaDecoder>(model);
  const auto x = decoder->forward(tokens);
  return lm_head.is_empty() ? at::linear(x, decoder->embed_tokens->weight) : lm_head(x);
}

parallel::PipelineLayers LlamaImpl::pipeline_layers() {
  const auto decoder = std::static_pointer_cast<LlamaDecoder>(model);
  auto layers = decoder->pipeline_layers();
  const auto norm = decoder->norm();
  const auto rows = lm_head.is_empty() ? decoder->embed_tokens->weight : lm_head->weight;
  double of_a_block = 0;
  for (const auto& parameter : layers.back().modules.front()->parameters())
    of_a_block += static_cast<double>(parameter.numel());
  layers.push_back(
      {.forward = [norm, rows](const torch::Tensor& x) { return at::linear(norm->forward(x), rows); },
       .modules = {norm},
       .tensors = {rows},
       .cost = static_cast<double>(rows.numel()) / of_a_block});
  return layers;
}

}  // namespace rtrain::models
