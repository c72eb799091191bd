#include <rtrain/data/transforms/mix.h>

#include "worker/data/transforms/drawn.h"

#include <ATen/ops/_sample_dirichlet.h>
#include <ATen/ops/full.h>
#include <ATen/ops/one_hot.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace rtrain::data::transforms {
namespace {

/// What both have in common: lambda, the partner of a sample, the target.
class Mix : public BatchTransform {
 public:
  [[nodiscard]] Batch apply(const Batch& batch, at::Generator& generator) const final {
    require(batch);
    const auto classes = probabilities_of(batch.target);
    auto mixed = batch;
    double share = drawn_lambda(generator);
    mixed.input = mixed_input(batch.input, share, generator);
    mixed.target = classes.roll(1, 0).mul_(1 - share).add_(classes.mul(share));
    return mixed;
  }

 protected:
  Mix(std::string name, MixOptions options) : name_(std::move(name)), options_(options) {
    if (!(options.alpha > 0) || std::isinf(options.alpha))
      throw std::invalid_argument(name_ + ": alpha is " + std::to_string(options.alpha) +
                                  ", expected more than 0");
  }
  /// @param share lambda: of the sample itself, in the result. May be changed for the target.
  [[nodiscard]] virtual torch::Tensor mixed_input(const torch::Tensor& input, double& share,
                                                  at::Generator& generator) const = 0;
  [[noreturn]] void refuse(const std::string& why) const { throw std::invalid_argument(name_ + ": " + why); }

 private:
  void require(const Batch& batch) const {
    const auto &input = batch.input, &target = batch.target;
    if (!input.defined() || !target.defined()) refuse("the batch has no input or no target");
    if (input.dim() != 4)
      refuse("expected input [N, C, H, W], found " + std::to_string(input.dim()) + " dimensions");
    if (target.dim() != 1 && target.dim() != 2)
      refuse("expected target [N] or [N, classes], found " + std::to_string(target.dim()) + " dimensions");
    if (input.size(0) != target.size(0))
      refuse("input has " + std::to_string(input.size(0)) + " samples, target has " +
             std::to_string(target.size(0)));
    if (target.dim() == 1 && !options_.num_classes)
      refuse("targets are classes: num_classes must say how many");
    if (target.dim() == 1 && target.is_floating_point())
      refuse("targets [N] must be classes, that is integers; found floating point");
    if (target.dim() == 2 && options_.num_classes && target.size(1) != *options_.num_classes)
      refuse("num_classes is " + std::to_string(*options_.num_classes) + ", but targets have " +
             std::to_string(target.size(1)) + " classes; leave num_classes out");
  }

  [[nodiscard]] torch::Tensor probabilities_of(const torch::Tensor& target) const {
    const auto all = target.dim() == 1 ? at::one_hot(target.to(at::kLong), *options_.num_classes) : target;
    return all.is_floating_point() ? all : all.to(at::kFloat);
  }

  /// Of Beta(alpha, alpha), as torch.distributions.Beta draws it.
  [[nodiscard]] double drawn_lambda(at::Generator& generator) const {
    return at::_sample_dirichlet(at::full({1, 2}, options_.alpha, at::kFloat), generator)[0][0].item<float>();
  }

  std::string name_;
  MixOptions options_;
};

class MixUpTransform final : public Mix {
 public:
  explicit MixUpTransform(MixOptions options) : Mix("MixUp", options) {}

 private:
  [[nodiscard]] torch::Tensor mixed_input(const torch::Tensor& input, double& share,
                                          at::Generator&) const override {
    if (!input.is_floating_point()) refuse("expected floating point; put ToTensor() before it");
    return input.roll(1, 0).mul_(1 - share).add_(input.mul(share));
  }
};

class CutMixTransform final : public Mix {
 public:
  explicit CutMixTransform(MixOptions options) : Mix("CutMix", options) {}

 private:
  [[nodiscard]] torch::Tensor mixed_input(const torch::Tensor& input, double& share,
                                          at::Generator& generator) const override {
    const auto height = input.size(-2), width = input.size(-1);
    const auto x = drawn::integer(0, width, generator);
    const auto y = drawn::integer(0, height, generator);
    const auto half = 0.5 * std::sqrt(1 - share);
    const auto half_width = static_cast<std::int64_t>(half * static_cast<double>(width));
    const auto half_height = static_cast<std::int64_t>(half * static_cast<double>(height));
    const auto left = std::max<std::int64_t>(0, x - half_width), right = std::min(width, x + half_width);
    const auto top = std::max<std::int64_t>(0, y - half_height), bottom = std::min(height, y + half_height);
    share = 1 - static_cast<double>((right - left) * (bottom - top)) / static_cast<double>(width * height);
    const auto box = [&](const torch::Tensor& images) {
      return images.narrow(-2, top, bottom - top).narrow(-1, left, right - left);
    };
    auto mixed = input.clone();
    box(mixed).copy_(box(input.roll(1, 0)));
    return mixed;
  }
};

}  // namespace

std::shared_ptr<const BatchTransform> MixUp(MixOptions options) {
  return std::make_shared<MixUpTransform>(options);
}

std::shared_ptr<const BatchTransform> CutMix(MixOptions options) {
  return std::make_shared<CutMixTransform>(options);
}

}  // namespace rtrain::data::transforms
