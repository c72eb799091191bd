#include <rtrain/data/transforms/erasing.h>

#include "worker/data/transforms/dimensions.h"
#include "worker/data/transforms/function_transform.h"
#include "worker/data/transforms/parameters.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <cmath>

namespace rtrain::data::transforms {
namespace {

class RandomErasingTransform final : public RandomTransform {
 public:
  explicit RandomErasingTransform(RandomErasingOptions options)
      : RandomTransform("RandomErasing"), options_(std::move(options)) {
    require_probability(name(), options_.p);
    require_shape_ranges(name(), options_.scale, options_.ratio);
    require_range(name() + ": scale", options_.scale, 0, 1);
    if (options_.value.empty()) throw std::invalid_argument(name() + ": value is empty");
  }

 protected:
  [[nodiscard]] torch::Tensor of_sample(const torch::Tensor& image, at::Generator& generator) const override {
    const auto channels = image.size(-3), height = image.size(-2), width = image.size(-1);
    const auto values = static_cast<std::int64_t>(options_.value.size());
    if (values != 1 && values != channels)
      throw std::invalid_argument(name() + ": " + std::to_string(values) + " values for " +
                                  std::to_string(channels) + " channels");
    if (!drawn::happens(options_.p, generator)) return image;
    constexpr int kTries = 10;
    for (int i = 0; i < kTries; ++i) {
      const auto area = static_cast<double>(height * width) * drawn::uniform(options_.scale, generator);
      const auto ratio = drawn::log_uniform(options_.ratio, generator);
      const auto h = rounded(std::sqrt(area * ratio)), w = rounded(std::sqrt(area / ratio));
      if (h >= height || w >= width) continue;
      const auto value = options_.with == EraseWith::kNoise
                             ? at::empty({channels, h, w}, at::kFloat).normal_(0, 1, generator)
                             : at::tensor(options_.value, at::kFloat).view({-1, 1, 1});
      const auto top = drawn::integer(0, height - h + 1, generator);
      return functional::erase(image, top, drawn::integer(0, width - w + 1, generator), h, w, value);
    }
    return image;
  }

 private:
  RandomErasingOptions options_;
};

}  // namespace

namespace functional {

torch::Tensor erase(const torch::Tensor& images, std::int64_t top, std::int64_t left, std::int64_t height,
                    std::int64_t width, const torch::Tensor& value) {
  require_images("erase", images);
  if (top < 0 || left < 0 || height < 0 || width < 0 || top + height > images.size(-2) ||
      left + width > images.size(-1))
    throw std::invalid_argument("erase: a rectangle of " + size_text(height, width) + " at row " +
                                std::to_string(top) + ", column " + std::to_string(left) +
                                " is not within the image of " + size_text(images.size(-2), images.size(-1)));
  auto result = images.clone();
  result.narrow(-2, top, height).narrow(-1, left, width).copy_(value);
  return result;
}

}  // namespace functional

std::shared_ptr<const Transform> RandomErasing(RandomErasingOptions options) {
  return std::make_shared<RandomErasingTransform>(std::move(options));
}

}  // namespace rtrain::data::transforms
