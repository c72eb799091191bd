#include <rtrain/models/vision_transformer.h>

#include <torch/nn/functional/activation.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <stdexcept>
#include <string>

namespace rtrain::models {
namespace {

namespace nn = torch::nn;

constexpr double kNormEps = 1e-6;

nn::LayerNorm norm(std::int64_t width) { return nn::LayerNorm(nn::LayerNormOptions({width}).eps(kNormEps)); }

/// torch.nn.init.trunc_normal_ with its default bounds, which are no multiples of `std`.
void truncated_normal(torch::Tensor& tensor, double std) {
  const torch::NoGradGuard no_grad;
  const auto cdf = [](double x) { return (1 + std::erf(x / std::sqrt(2.0))) / 2; };
  const double low = cdf(-2 / std), high = cdf(2 / std);
  tensor.uniform_(2 * low - 1, 2 * high - 1).erfinv_().mul_(std * std::sqrt(2.0)).clamp_(-2, 2);
}

/// torch.nn.MultiheadAttention of a sequence with itself.
class SelfAttentionImpl : public nn::Module {
 public:
  SelfAttentionImpl(std::int64_t width, std::int64_t heads, double dropout)
      : heads_(heads),
        dropout_(dropout),
        in_proj_weight_(register_parameter("in_proj_weight", at::empty({3 * width, width}))),
        in_proj_bias_(register_parameter("in_proj_bias", at::zeros({3 * width}))),
        out_proj_(register_module("out_proj", nn::Linear(width, width))) {
    nn::init::xavier_uniform_(in_proj_weight_);
    nn::init::zeros_(out_proj_->bias);
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const auto samples = x.size(0), length = x.size(1), width = x.size(2);
    const auto parts = at::linear(x, in_proj_weight_, in_proj_bias_)
                           .view({samples, length, 3, heads_, width / heads_})
                           .permute({2, 0, 3, 1, 4});
    const auto qkv = parts.unbind(0);  // one node of autograd, and not three gradients of the whole
    const auto mixed =
        at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], {}, is_training() ? dropout_ : 0.0);
    return out_proj_(mixed.transpose(1, 2).reshape({samples, length, width}));
  }

 private:
  std::int64_t heads_;
  double dropout_;
  torch::Tensor in_proj_weight_, in_proj_bias_;
  nn::Linear out_proj_;
};
TORCH_MODULE(SelfAttention);

class EncoderLayerImpl : public nn::Module {
 public:
  explicit EncoderLayerImpl(const VisionTransformerOptions& o)
      : ln_1_(register_module("ln_1", norm(o.hidden_dim))),
        self_attention_(
            register_module("self_attention", SelfAttention(o.hidden_dim, o.num_heads, o.attention_dropout))),
        dropout_(register_module("dropout", nn::Dropout(o.dropout))),
        ln_2_(register_module("ln_2", norm(o.hidden_dim))),
        mlp_(register_module(
            "mlp", nn::Sequential(nn::Linear(o.hidden_dim, o.mlp_dim), nn::GELU(), nn::Dropout(o.dropout),
                                  nn::Linear(o.mlp_dim, o.hidden_dim), nn::Dropout(o.dropout)))) {
    for (const auto& module : *mlp_) {
      const auto any = module.ptr();
      if (auto* linear = any->as<nn::Linear>()) {
        nn::init::xavier_uniform_(linear->weight);
        nn::init::normal_(linear->bias, 0, 1e-6);
      }
    }
  }
  torch::Tensor forward(const torch::Tensor& input) {
    const auto x = dropout_(self_attention_(ln_1_(input))) + input;
    return x + mlp_->forward(ln_2_(x));
  }

 private:
  nn::LayerNorm ln_1_;
  SelfAttention self_attention_;
  nn::Dropout dropout_;
  nn::LayerNorm ln_2_;
  nn::Sequential mlp_;
};
TORCH_MODULE(EncoderLayer);

class Encoder : public nn::Module {
 public:
  Encoder(const VisionTransformerOptions& o, std::int64_t length)
      : pos_embedding_(
            register_parameter("pos_embedding", at::empty({1, length, o.hidden_dim}).normal_(0, 0.02))),
        dropout_(register_module("dropout", nn::Dropout(o.dropout))) {
    nn::Sequential layers;
    for (std::int64_t i = 0; i < o.num_layers; ++i)
      layers->push_back("encoder_layer_" + std::to_string(i), EncoderLayer(o));
    layers_ = register_module("layers", layers);
    ln_ = register_module("ln", norm(o.hidden_dim));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return ln_(layers_->forward(dropout_(x + pos_embedding_)));
  }

 private:
  torch::Tensor pos_embedding_;
  nn::Dropout dropout_;
  nn::Sequential layers_{nullptr};
  nn::LayerNorm ln_{nullptr};
};

}  // namespace

// Modules are made, and initialized, in torchvision's order.
VisionTransformerImpl::VisionTransformerImpl(const VisionTransformerOptions& o)
    : image_size_(o.image_size), hidden_dim_(o.hidden_dim) {
  const auto require = [](bool divides, const char* whole, std::int64_t size, const char* part,
                          std::int64_t by) {
    if (!divides)
      throw std::invalid_argument("VisionTransformer: " + std::string(whole) + " is " + std::to_string(size) +
                                  ", expected a multiple of " + part + ", " + std::to_string(by));
  };
  require(o.patch_size > 0 && o.image_size > 0 && o.image_size % o.patch_size == 0, "image_size",
          o.image_size, "patch_size", o.patch_size);
  require(o.num_heads > 0 && o.hidden_dim > 0 && o.hidden_dim % o.num_heads == 0, "hidden_dim", o.hidden_dim,
          "num_heads", o.num_heads);
  class_token = register_parameter("class_token", at::zeros({1, 1, o.hidden_dim}));
  conv_proj = register_module(
      "conv_proj", nn::Conv2d(nn::Conv2dOptions(3, o.hidden_dim, o.patch_size).stride(o.patch_size)));
  const auto side = o.image_size / o.patch_size;
  encoder = register_module("encoder", std::make_shared<Encoder>(o, side * side + 1));
  nn::Sequential head;
  head->push_back("head", nn::Linear(o.hidden_dim, o.num_classes));
  heads = register_module("heads", head);
  truncated_normal(conv_proj->weight, std::sqrt(1.0 / static_cast<double>(3 * o.patch_size * o.patch_size)));
  nn::init::zeros_(conv_proj->bias);
  for (auto& parameter : heads->parameters()) nn::init::zeros_(parameter);
}

torch::Tensor VisionTransformerImpl::forward(const torch::Tensor& images) {
  if (images.dim() != 4 || images.size(2) != image_size_ || images.size(3) != image_size_)
    throw std::invalid_argument("VisionTransformer: the images have shape " + c10::str(images.sizes()) +
                                ", expected [N, 3, " + std::to_string(image_size_) + ", " +
                                std::to_string(image_size_) + "]");
  const auto samples = images.size(0);
  const auto patches = conv_proj(images).reshape({samples, hidden_dim_, -1}).permute({0, 2, 1});
  const auto x = at::cat({class_token.expand({samples, -1, -1}), patches}, 1);
  return heads->forward(std::static_pointer_cast<Encoder>(encoder)->forward(x).select(1, 0));
}

VisionTransformer vit_b_16(std::int64_t num_classes) {
  return VisionTransformer(VisionTransformerOptions{.num_classes = num_classes});
}

}  // namespace rtrain::models
