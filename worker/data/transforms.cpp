#include <rtrain/data/transforms.h>
#include <rtrain/data/transforms/functional_color.h>

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace rtrain::data::transforms {
namespace {

class ToTensorTransform final : public Transform {
 public:
  [[nodiscard]] torch::Tensor apply(const torch::Tensor& images) const override {
    if (images.scalar_type() != at::kByte) {
      throw std::invalid_argument("ToTensor: expected images of bytes (uint8), found " +
                                  std::string(c10::toString(images.scalar_type())));
    }
    return images.to(at::kFloat).div_(255);
  }
  [[nodiscard]] bool is_pointwise() const override { return true; }
};

class ToDtypeTransform final : public Transform {
 public:
  ToDtypeTransform(at::ScalarType dtype, bool scale) : dtype_(dtype), scale_(scale) {}
  [[nodiscard]] torch::Tensor apply(const torch::Tensor& images) const override {
    return functional::to_dtype(images, dtype_, scale_);
  }
  [[nodiscard]] bool is_pointwise() const override { return true; }

 private:
  at::ScalarType dtype_;
  bool scale_;
};

class NormalizeTransform final : public Transform {
 public:
  NormalizeTransform(const std::vector<double>& mean, const std::vector<double>& std)
      : mean_(at::tensor(mean, at::kFloat).view({-1, 1, 1})),
        std_(at::tensor(std, at::kFloat).view({-1, 1, 1})) {
    if (mean.size() != std.size() || mean.empty()) {
      throw std::invalid_argument("Normalize: " + std::to_string(mean.size()) + " means and " +
                                  std::to_string(std.size()) + " stds; one of each a channel");
    }
    if ((std_ == 0).any().item<bool>())
      throw std::invalid_argument("Normalize: a std of 0 would divide by zero");
  }
  [[nodiscard]] torch::Tensor apply(const torch::Tensor& images) const override {
    if (!images.is_floating_point())
      throw std::invalid_argument("Normalize: expected floats; put ToTensor() before it");
    return images.sub(mean_.to(images.options())).div_(std_.to(images.options()));
  }
  [[nodiscard]] bool is_pointwise() const override { return mean_.numel() == 1; }

 private:
  torch::Tensor mean_, std_;
};

class Composition final : public Transform {
 public:
  explicit Composition(std::vector<std::shared_ptr<const Transform>> steps) : steps_(std::move(steps)) {
    for (const auto& step : steps_) {
      if (step == nullptr) throw std::invalid_argument("Compose: a transform is null");
    }
  }
  [[nodiscard]] torch::Tensor apply(const torch::Tensor& images) const override {
    auto result = images;
    for (const auto& step : steps_) result = step->apply(result);
    return result;
  }
  [[nodiscard]] torch::Tensor apply(const torch::Tensor& images,
                                    std::span<at::Generator> generators) const override {
    auto result = images;
    for (const auto& step : steps_) result = step->apply(result, generators);
    return result;
  }
  [[nodiscard]] bool is_pointwise() const override {
    return std::all_of(steps_.begin(), steps_.end(), [](const auto& step) { return step->is_pointwise(); });
  }

 private:
  std::vector<std::shared_ptr<const Transform>> steps_;
};

}  // namespace

std::shared_ptr<const Transform> ToTensor() { return std::make_shared<ToTensorTransform>(); }
std::shared_ptr<const Transform> ToDtype(at::ScalarType dtype, bool scale) {
  return std::make_shared<ToDtypeTransform>(dtype, scale);
}
std::shared_ptr<const Transform> Normalize(double mean, double std) {
  return Normalize(std::vector{mean}, std::vector{std});
}
std::shared_ptr<const Transform> Normalize(std::vector<double> mean, std::vector<double> std) {
  return std::make_shared<NormalizeTransform>(mean, std);
}
std::shared_ptr<const Transform> Compose(std::vector<std::shared_ptr<const Transform>> steps) {
  return std::make_shared<Composition>(std::move(steps));
}

}  // namespace rtrain::data::transforms
