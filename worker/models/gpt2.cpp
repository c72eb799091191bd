#include <rtrain/models/gpt2.h>

#include <torch/nn/functional/activation.h>
#include <torch/nn/init.h>

#include <ATen/ops/addmm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/multinomial.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace rtrain::models {
namespace {

namespace nn = torch::nn;

constexpr double kInitialStd = 0.02;

nn::LayerNorm norm_of_gpt2(std::int64_t width) { return nn::LayerNorm(nn::LayerNormOptions({width})); }

/// Hugging Face's Conv1D: a linear layer with its weight the other way round.
class Conv1DImpl : public nn::Module {
 public:
  Conv1DImpl(std::int64_t in, std::int64_t out, double std)
      : weight_(register_parameter("weight", at::empty({in, out}).normal_(0, std))),
        bias_(register_parameter("bias", at::zeros({out}))) {}
  torch::Tensor forward(const torch::Tensor& x) {
    auto shape = x.sizes().vec();
    shape.back() = weight_.size(1);
    return at::addmm(bias_, x.reshape({-1, weight_.size(0)}), weight_).view(shape);
  }

 private:
  torch::Tensor weight_, bias_;
};
TORCH_MODULE(Conv1D);

class AttentionImpl : public nn::Module {
 public:
  AttentionImpl(const GPT2Options& o, double std)
      : heads_(o.n_head),
        dropout_(o.dropout),
        c_attn_(register_module("c_attn", Conv1D(o.n_embd, 3 * o.n_embd, kInitialStd))),
        c_proj_(register_module("c_proj", Conv1D(o.n_embd, o.n_embd, std))),
        resid_dropout_(register_module("resid_dropout", nn::Dropout(o.dropout))) {}
  torch::Tensor forward(const torch::Tensor& x) {
    const auto samples = x.size(0), length = x.size(1), width = x.size(2);
    const auto parts = c_attn_(x).view({samples, length, 3, heads_, width / heads_}).permute({2, 0, 3, 1, 4});
    // One node of autograd: three selects would each fill a gradient of the whole with zeros, to be added.
    const auto qkv = parts.unbind(0);
    const auto mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], {},
                                                        is_training() ? dropout_ : 0.0, /*is_causal=*/true);
    return resid_dropout_(c_proj_(mixed.transpose(1, 2).reshape({samples, length, width})));
  }

 private:
  std::int64_t heads_;
  double dropout_;
  Conv1D c_attn_, c_proj_;
  nn::Dropout resid_dropout_;
};
TORCH_MODULE(Attention);

class MLPImpl : public nn::Module {
 public:
  MLPImpl(const GPT2Options& o, double std)
      : c_fc_(register_module("c_fc", Conv1D(o.n_embd, 4 * o.n_embd, kInitialStd))),
        c_proj_(register_module("c_proj", Conv1D(4 * o.n_embd, o.n_embd, std))),
        dropout_(register_module("dropout", nn::Dropout(o.dropout))) {}
  torch::Tensor forward(const torch::Tensor& x) { return dropout_(c_proj_(at::gelu(c_fc_(x), "tanh"))); }

 private:
  Conv1D c_fc_, c_proj_;
  nn::Dropout dropout_;
};
TORCH_MODULE(MLP);

class GPT2Block : public nn::Module {
 public:
  GPT2Block(const GPT2Options& o, double std)
      : ln_1_(register_module("ln_1", norm_of_gpt2(o.n_embd))),
        attn_(register_module("attn", Attention(o, std))),
        ln_2_(register_module("ln_2", norm_of_gpt2(o.n_embd))),
        mlp_(register_module("mlp", MLP(o, std))) {}
  torch::Tensor forward(const torch::Tensor& input) {
    const auto x = input + attn_(ln_1_(input));
    return x + mlp_(ln_2_(x));
  }

 private:
  nn::LayerNorm ln_1_;
  Attention attn_;
  nn::LayerNorm ln_2_;
  MLP mlp_;
};

}  // namespace

GPT2Impl::GPT2Impl(const GPT2Options& o) : options_(o) {
  if (o.n_head < 1 || o.n_embd % o.n_head != 0)
    throw std::invalid_argument("GPT2: n_embd is " + std::to_string(o.n_embd) +
                                ", expected a multiple of n_head, " + std::to_string(o.n_head));
  wte = register_module("wte", nn::Embedding(o.vocab_size, o.n_embd));
  wpe = register_module("wpe", nn::Embedding(o.n_positions, o.n_embd));
  drop = register_module("drop", nn::Dropout(o.dropout));
  h = register_module("h", nn::ModuleList());
  // What a layer adds to the stream is the smaller the more layers add to it.
  const double added = kInitialStd / std::sqrt(2.0 * static_cast<double>(o.n_layer));
  for (std::int64_t i = 0; i < o.n_layer; ++i) h->push_back(std::make_shared<GPT2Block>(o, added));
  ln_f = register_module("ln_f", norm_of_gpt2(o.n_embd));
  nn::init::normal_(wte->weight, 0, kInitialStd);
  nn::init::normal_(wpe->weight, 0, kInitialStd);
}

torch::Tensor GPT2Impl::embedded(const torch::Tensor& tokens) {
  if (tokens.dim() != 2 || tokens.size(1) > options_.n_positions)
    throw std::invalid_argument("GPT2: the tokens have shape " + c10::str(tokens.sizes()) +
                                ", expected [N, T] with T at most n_positions, " +
                                std::to_string(options_.n_positions));
  return drop(wte(tokens) + wpe(at::arange(tokens.size(1), tokens.options())));
}

torch::Tensor GPT2Impl::forward(const torch::Tensor& tokens) {
  auto x = embedded(tokens);
  for (const auto& block : *h) x = std::static_pointer_cast<GPT2Block>(block)->forward(x);
  return at::linear(ln_f(x), wte->weight);
}

parallel::PipelineLayers GPT2Impl::pipeline_layers() {
  parallel::PipelineLayers layers;
  layers.push_back({.forward = [this](const torch::Tensor& tokens) { return embedded(tokens); },
                    .modules = {wte.ptr(), wpe.ptr()},
                    .cost = 0});
  for (const auto& module : *h) {
    const auto block = std::static_pointer_cast<GPT2Block>(module);
    layers.push_back(
        {.forward = [block](const torch::Tensor& x) { return block->forward(x); }, .modules = {block}});
  }
  // What its matrix costs beside that of a block: 12 n_embd^2.
  const auto width = static_cast<double>(options_.n_embd);
  layers.push_back({.forward = [this](const torch::Tensor& x) { return at::linear(ln_f(x), wte->weight); },
                    .modules = {ln_f.ptr(), wte.ptr()},
                    .cost = static_cast<double>(options_.vocab_size) / (12 * width)});
  return layers;
}

torch::Tensor GPT2Impl::generate(torch::Tensor tokens, std::int64_t count, double temperature,
                                 std::int64_t top_k) {
  if (!(temperature > 0))
    throw std::invalid_argument("GPT2: temperature is " + std::to_string(temperature) + ", expected above 0");
  const torch::NoGradGuard no_grad;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto begin = std::max<std::int64_t>(0, tokens.size(1) - options_.n_positions);
    auto logits = forward(tokens.slice(1, begin)).select(1, -1) / temperature;
    if (top_k > 0 && top_k < logits.size(-1)) {
      const auto least = std::get<0>(at::topk(logits, top_k)).select(-1, -1).unsqueeze(-1);
      logits = logits.masked_fill(logits < least, -std::numeric_limits<double>::infinity());
    }
    tokens = at::cat({tokens, at::multinomial(at::softmax(logits, -1, torch::kFloat32), 1)}, 1);
  }
  return tokens;
}

GPT2Options gpt2_medium() { return {.n_embd = 1024, .n_layer = 24, .n_head = 16}; }
GPT2Options gpt2_large() { return {.n_embd = 1280, .n_layer = 36, .n_head = 20}; }
GPT2Options gpt2_xl() { return {.n_embd = 1600, .n_layer = 48, .n_head = 25}; }

LoadedWeights load_gpt2(GPT2Impl& model, const std::filesystem::path& path) {
  auto loaded =
      load_weights(model, path, {.rename = {{"transformer.", ""}, {"lm_head.weight", ""}}, .strict = false});
  std::erase_if(loaded.unexpected, [](const std::string& name) {
    return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
  });
  if (const auto report = loaded.report(); !report.empty())
    throw std::runtime_error(path.string() + ": the weights are not those of this GPT2:\n" + report);
  return loaded;
}

}  // namespace rtrain::models
