// ResNet, ResNeXt and wide ResNet. Parameter names and shapes are torchvision's: conv1.weight,
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
  std::array<int, 4> blocks = {2, 2, 2, 2};  ///< number of blocks per stage
  std::int64_t num_classes = 1000;
  std::int64_t in_channels = 3;
  /// 1x1, 3x3, 1x1 convolutions with four times as many channels at the end (50 layers and more); the stride
  /// is in the 3x3 one
  bool bottleneck = false;
  std::int64_t groups = 1;            ///< of the 3x3 convolutions; more than 1 needs bottleneck (ResNeXt)
  std::int64_t width_per_group = 64;  ///< other than 64 needs bottleneck
  bool zero_init_residual = false;    ///< each block begins as the identity
};

/// Maps images [N, in_channels, H, W] to logits [N, num_classes].
/// For a given seed of the default generator, the initial values are bit-identical to torchvision's
/// (in_channels 3).
class RTRAIN_API ResNetImpl : public torch::nn::Module {
 public:
  /// @throws std::invalid_argument groups or width_per_group without bottleneck.
  explicit ResNetImpl(const ResNetOptions& options = {});
  torch::Tensor forward(torch::Tensor images);

  torch::nn::Conv2d conv1{nullptr};
  torch::nn::BatchNorm2d bn1{nullptr};
  torch::nn::Sequential layer1{nullptr}, layer2{nullptr}, layer3{nullptr}, layer4{nullptr};
  torch::nn::Linear fc{nullptr};
};
TORCH_MODULE(ResNet);

/// torchvision's models of these names. @param in_channels of the images: 1 for grey ones.
[[nodiscard]] RTRAIN_API ResNet resnet18(std::int64_t num_classes = 1000, std::int64_t in_channels = 3);
[[nodiscard]] RTRAIN_API ResNet resnet34(std::int64_t num_classes = 1000, std::int64_t in_channels = 3);
[[nodiscard]] RTRAIN_API ResNet resnet50(std::int64_t num_classes = 1000, std::int64_t in_channels = 3);
[[nodiscard]] RTRAIN_API ResNet resnet101(std::int64_t num_classes = 1000, std::int64_t in_channels = 3);
[[nodiscard]] RTRAIN_API ResNet resnet152(std::int64_t num_classes = 1000, std::int64_t in_channels = 3);

}  // namespace rtrain::models
