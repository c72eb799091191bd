#include <rtrain/models/resnet.h>

#include <torch/nn/functional/activation.h>
#include <torch/nn/functional/pooling.h>
#include <torch/nn/init.h>

#include <stdexcept>

namespace rtrain::models {
namespace {

namespace nn = torch::nn;
namespace F = torch::nn::functional;

nn::Conv2d conv3x3(std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t groups = 1) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, 3).stride(stride).padding(1).groups(groups).bias(false));
}
nn::Conv2d conv1x1(std::int64_t in, std::int64_t out, std::int64_t stride = 1) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, 1).stride(stride).bias(false));
}

/// conv-bn-relu-conv-bn and the way around it. `downsample` (may be null) makes the way around fit in size.
class BasicBlockImpl : public nn::Module {
 public:
  BasicBlockImpl(std::int64_t in, std::int64_t out, std::int64_t stride, nn::Sequential downsample)
      : conv1_(register_module("conv1", conv3x3(in, out, stride))),
        bn1_(register_module("bn1", nn::BatchNorm2d(out))),
        conv2_(register_module("conv2", conv3x3(out, out, 1))),
        bn2_(register_module("bn2", nn::BatchNorm2d(out))),
        downsample_(std::move(downsample)) {
    if (!downsample_.is_empty()) register_module("downsample", downsample_);
  }

  torch::Tensor forward(const torch::Tensor& x) {
    auto out = bn1_(conv1_(x)).relu_();
    out = bn2_(conv2_(out));
    return out.add_(downsample_.is_empty() ? x : downsample_->forward(x)).relu_();
  }
  void zero_last_norm() { nn::init::zeros_(bn2_->weight); }

 private:
  nn::Conv2d conv1_;
  nn::BatchNorm2d bn1_;
  nn::Conv2d conv2_;
  nn::BatchNorm2d bn2_;
  nn::Sequential downsample_;
};
TORCH_MODULE(BasicBlock);

class BottleneckImpl : public nn::Module {
 public:
  static constexpr std::int64_t kExpansion = 4;

  /// @param width channels of the 3x3 convolution. @param out kExpansion times the stage's planes.
  BottleneckImpl(std::int64_t in, std::int64_t width, std::int64_t out, std::int64_t stride,
                 std::int64_t groups, nn::Sequential downsample)
      : conv1_(register_module("conv1", conv1x1(in, width))),
        bn1_(register_module("bn1", nn::BatchNorm2d(width))),
        conv2_(register_module("conv2", conv3x3(width, width, stride, groups))),
        bn2_(register_module("bn2", nn::BatchNorm2d(width))),
        conv3_(register_module("conv3", conv1x1(width, out))),
        bn3_(register_module("bn3", nn::BatchNorm2d(out))),
        downsample_(std::move(downsample)) {
    if (!downsample_.is_empty()) register_module("downsample", downsample_);
  }

  torch::Tensor forward(const torch::Tensor& x) {
    auto out = bn1_(conv1_(x)).relu_();
    out = bn2_(conv2_(out)).relu_();
    out = bn3_(conv3_(out));
    return out.add_(downsample_.is_empty() ? x : downsample_->forward(x)).relu_();
  }
  void zero_last_norm() { nn::init::zeros_(bn3_->weight); }

 private:
  nn::Conv2d conv1_;
  nn::BatchNorm2d bn1_;
  nn::Conv2d conv2_;
  nn::BatchNorm2d bn2_;
  nn::Conv2d conv3_;
  nn::BatchNorm2d bn3_;
  nn::Sequential downsample_;
};
TORCH_MODULE(Bottleneck);

/// Makes the stages one after the other, each with the channels that the one before leaves.
class Stages {
 public:
  explicit Stages(const ResNetOptions& options) : options_(options) {}

  nn::Sequential next(std::int64_t planes, int blocks, std::int64_t stride) {
    const auto out = options_.bottleneck ? planes * BottleneckImpl::kExpansion : planes;
    nn::Sequential downsample{nullptr};
    if (stride != 1 || channels_ != out)
      downsample = nn::Sequential(conv1x1(channels_, out, stride), nn::BatchNorm2d(out));
    nn::Sequential layer;
    for (int i = 0; i < blocks; ++i) {
      if (options_.bottleneck)
        layer->push_back(Bottleneck(channels_, planes * options_.width_per_group / 64 * options_.groups, out,
                                    i == 0 ? stride : 1, options_.groups, downsample));
      else
        layer->push_back(BasicBlock(channels_, out, i == 0 ? stride : 1, downsample));
      downsample = nn::Sequential{nullptr};
      channels_ = out;
    }
    return layer;
  }
  [[nodiscard]] std::int64_t channels() const { return channels_; }

 private:
  const ResNetOptions& options_;
  std::int64_t channels_ = 64;
};

ResNet resnet(std::array<int, 4> blocks, bool bottleneck, std::int64_t num_classes,
              std::int64_t in_channels) {
  return ResNet(ResNetOptions{
      .blocks = blocks, .num_classes = num_classes, .in_channels = in_channels, .bottleneck = bottleneck});
}

}  // namespace

// Modules are made in torchvision's order: each draws its initial values from the default generator.
ResNetImpl::ResNetImpl(const ResNetOptions& options) {
  if (!options.bottleneck && (options.groups != 1 || options.width_per_group != 64))
    throw std::invalid_argument("ResNet: groups is " + std::to_string(options.groups) +
                                " and width_per_group " + std::to_string(options.width_per_group) +
                                ": blocks without bottleneck have 1 and 64; set bottleneck = true");
  conv1 = register_module(
      "conv1", nn::Conv2d(nn::Conv2dOptions(options.in_channels, 64, 7).stride(2).padding(3).bias(false)));
  bn1 = register_module("bn1", nn::BatchNorm2d(64));
  Stages stages(options);
  layer1 = register_module("layer1", stages.next(64, options.blocks[0], 1));
  layer2 = register_module("layer2", stages.next(128, options.blocks[1], 2));
  layer3 = register_module("layer3", stages.next(256, options.blocks[2], 2));
  layer4 = register_module("layer4", stages.next(512, options.blocks[3], 2));
  fc = register_module("fc", nn::Linear(stages.channels(), options.num_classes));
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* conv = module->as<nn::Conv2d>())
      nn::init::kaiming_normal_(conv->weight, 0, torch::kFanOut, torch::kReLU);
    if (!options.zero_init_residual) continue;
    if (auto* basic = module->as<BasicBlockImpl>()) basic->zero_last_norm();
    if (auto* bottleneck = module->as<BottleneckImpl>()) bottleneck->zero_last_norm();
  }
}

torch::Tensor ResNetImpl::forward(torch::Tensor images) {
  auto x = bn1(conv1(images)).relu_();
  x = F::max_pool2d(x, F::MaxPool2dFuncOptions(3).stride(2).padding(1));
  x = layer4->forward(layer3->forward(layer2->forward(layer1->forward(x))));
  return fc(x.mean({2, 3}));
}

ResNet resnet18(std::int64_t num_classes, std::int64_t in_channels) {
  return resnet({2, 2, 2, 2}, false, num_classes, in_channels);
}
ResNet resnet34(std::int64_t num_classes, std::int64_t in_channels) {
  return resnet({3, 4, 6, 3}, false, num_classes, in_channels);
}
ResNet resnet50(std::int64_t num_classes, std::int64_t in_channels) {
  return resnet({3, 4, 6, 3}, true, num_classes, in_channels);
}
ResNet resnet101(std::int64_t num_classes, std::int64_t in_channels) {
  return resnet({3, 4, 23, 3}, true, num_classes, in_channels);
}
ResNet resnet152(std::int64_t num_classes, std::int64_t in_channels) {
  return resnet({3, 8, 36, 3}, true, num_classes, in_channels);
}

}  // namespace rtrain::models
