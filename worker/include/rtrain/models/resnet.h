// ResNet with basic blocks (18 and 34 layers). Parameter names and shapes are torchvision's: conv1.weight,
// layer1.0.bn2.bias, fc.weight.
#pragma once

#include <rtrain/export.h>

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <array>

namespace rtrain::models {

struct RTRAIN_API ResNetOptions {
  std::array<int, 4> blocks = {2, 2, 2, 2};  ///< number of basic blocks per stage
  std::int64_t num_classes = 1000;
  std::int64_t in_channels = 3;
};

/// Maps images [N, in_channels, H, W] to logits [N, num_classes].
/// For a given seed of the default generator, the initial values are bit-identical to torchvision's
/// (in_channels 3).
class RTRAIN_API ResNetImpl : public torch::nn::Module {
 public:
  explicit ResNetImpl(const ResNetOptions& options = {});
  torch::Tensor forward(torch::Tensor images);

  torch::nn::Conv2d conv1{nullptr};
  torch::nn::BatchNorm2d bn1{nullptr};
  torch::nn::Sequential layer1{nullptr}, layer2{nullptr}, layer3{nullptr}, layer4{nullptr};
  torch::nn::Linear fc{nullptr};
};
TORCH_MODULE(ResNet);

[[nodiscard]] RTRAIN_API ResNet resnet18(std::int64_t num_classes = 1000, std::int64_t in_channels = 3);
[[nodiscard]] RTRAIN_API ResNet resnet34(std::int64_t num_classes = 1000, std::int64_t in_channels = 3);

}  // namespace rtrain::models
