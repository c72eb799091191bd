// Vision Transformer. Parameter names and shapes are torchvision's: class_token, encoder.pos_embedding,
// encoder.layers.encoder_layer_0.self_attention.in_proj_weight, heads.head.weight.
#pragma once

#include <rtrain/export.h>

#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/pimpl.h>

namespace rtrain::models {

/// torchvision's arguments; the defaults are those of ViT-B/16.
struct RTRAIN_API VisionTransformerOptions {
  std::int64_t image_size = 224;  ///< of the square images; a multiple of patch_size
  std::int64_t patch_size = 16;
  std::int64_t num_layers = 12;
  std::int64_t num_heads = 12;  ///< divides hidden_dim
  std::int64_t hidden_dim = 768;
  std::int64_t mlp_dim = 3072;
  double dropout = 0, attention_dropout = 0;
  std::int64_t num_classes = 1000;
};

/// Maps images [N, 3, image_size, image_size] to logits [N, num_classes]. The initial values are drawn from
/// torchvision's distributions.
class RTRAIN_API VisionTransformerImpl : public torch::nn::Module {
 public:
  /// @throws std::invalid_argument sizes that do not divide.
  explicit VisionTransformerImpl(const VisionTransformerOptions& options = {});
  torch::Tensor forward(const torch::Tensor& images);

  torch::Tensor class_token;
  torch::nn::Conv2d conv_proj{nullptr};
  std::shared_ptr<torch::nn::Module> encoder;
  torch::nn::Sequential heads{nullptr};

 private:
  std::int64_t image_size_, hidden_dim_;
};
TORCH_MODULE(VisionTransformer);

/// torchvision's vit_b_16: images of 224 x 224 in patches of 16.
[[nodiscard]] RTRAIN_API VisionTransformer vit_b_16(std::int64_t num_classes = 1000);

}  // namespace rtrain::models
