#include <rtrain/models/resnet.h>

#include <torch/nn/functional/activation.h>
#include <torch/nn/functional/pooling.h>
#include <torch/nn/init.h>

namespace rtrain::models {
namespace {

namespace nn = torch::nn;
namespace F = torch::nn::functional;

nn::Conv2d conv3x3(std::int64_t in, std::int64_t out, std::int64_t stride) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, 3).stride(stride).padding(1).bias(false));
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

 private:
  nn::Conv2d conv1_;
  nn::BatchNorm2d bn1_;
  nn::Conv2d conv2_;
  nn::BatchNorm2d bn2_;
  nn::Sequential downsample_;
};
TORCH_MODULE(BasicBlock);

nn::Sequential stage(std::int64_t in, std::int64_t out, int blocks, std::int64_t stride) {
  nn::Sequential downsample{nullptr};
  if (stride != 1 || in != out) {
    downsample = nn::Sequential(nn::Conv2d(nn::Conv2dOptions(in, out, 1).stride(stride).bias(false)),
                                nn::BatchNorm2d(out));
  }
  nn::Sequential layer;
  layer->push_back(BasicBlock(in, out, stride, downsample));
  for (int i = 1; i < blocks; ++i) layer->push_back(BasicBlock(out, out, 1, nn::Sequential{nullptr}));
  return layer;
}

}  // namespace

// Modules are made in torchvision's order: each draws its initial values from the default generator.
ResNetImpl::ResNetImpl(const ResNetOptions& options)
    : conv1(register_module(
          "conv1",
          nn::Conv2d(nn::Conv2dOptions(options.in_channels, 64, 7).stride(2).padding(3).bias(false)))),
      bn1(register_module("bn1", nn::BatchNorm2d(64))),
      layer1(register_module("layer1", stage(64, 64, options.blocks[0], 1))),
      layer2(register_module("layer2", stage(64, 128, options.blocks[1], 2))),
      layer3(register_module("layer3", stage(128, 256, options.blocks[2], 2))),
      layer4(register_module("layer4", stage(256, 512, options.blocks[3], 2))),
      fc(register_module("fc", nn::Linear(512, options.num_classes))) {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* conv = module->as<nn::Conv2d>())
      nn::init::kaiming_normal_(conv->weight, 0, torch::kFanOut, torch::kReLU);
  }
}

torch::Tensor ResNetImpl::forward(torch::Tensor images) {
  auto x = bn1(conv1(images)).relu_();
  x = F::max_pool2d(x, F::MaxPool2dFuncOptions(3).stride(2).padding(1));
  x = layer4->forward(layer3->forward(layer2->forward(layer1->forward(x))));
  return fc(x.mean({2, 3}));
}

ResNet resnet18(std::int64_t num_classes, std::int64_t in_channels) {
  return ResNet(ResNetOptions{{2, 2, 2, 2}, num_classes, in_channels});
}
ResNet resnet34(std::int64_t num_classes, std::int64_t in_channels) {
  return ResNet(ResNetOptions{{3, 4, 6, 3}, num_classes, in_channels});
}

}  // namespace rtrain::models
