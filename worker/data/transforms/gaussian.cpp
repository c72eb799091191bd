#include <rtrain/data/transforms/gaussian.h>

#include "worker/data/transforms/dimensions.h"
#include "worker/data/transforms/function_transform.h"
#include "worker/data/transforms/parameters.h"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/pad.h>
#include <ATen/ops/softmax.h>

#include <cmath>

namespace rtrain::data::transforms {
namespace {

void require_kernel(const char* name, KernelSize kernel) {
  for (const auto size : kernel)
    if (size < 1 || size % 2 == 0)
      throw std::invalid_argument(std::string(name) + ": the kernel is " + size_text(kernel[0], kernel[1]) +
                                  ", expected odd numbers from 1 on");
}

/// exp(-x^2 / (2 sigma^2)), normalized: a softmax of -(x / (sqrt(2) sigma))^2.
torch::Tensor weights_of(std::int64_t size, double sigma, const at::TensorOptions& options) {
  const auto limit = static_cast<double>(size - 1) / (2 * std::sqrt(2.0));
  return at::softmax(at::linspace(-limit, limit, size, options).div(sigma).pow(2).neg(), 0);
}

}  // namespace

namespace functional {

torch::Tensor gaussian_blur(const torch::Tensor& images, KernelSize kernel, std::array<double, 2> sigma) {
  require_images("gaussian_blur", images);
  require_kernel("gaussian_blur", kernel);
  if (!(sigma[0] > 0 && sigma[1] > 0))
    throw std::invalid_argument("gaussian_blur: sigma is {" + std::to_string(sigma[0]) + ", " +
                                std::to_string(sigma[1]) + "}, expected more than 0");
  if (images.numel() == 0) return images;
  if (kernel[0] / 2 >= images.size(-1) || kernel[1] / 2 >= images.size(-2))
    throw std::invalid_argument("gaussian_blur: half of the kernel, " + size_text(kernel[1], kernel[0]) +
                                ", must be less than the image, " +
                                size_text(images.size(-2), images.size(-1)));
  const auto floats = images.is_floating_point() ? images : images.to(at::kFloat);
  const auto weights = weights_of(kernel[1], sigma[1], floats.options()).unsqueeze(-1) *
                       weights_of(kernel[0], sigma[0], floats.options());
  const auto channels = images.size(-3);
  const std::array<std::int64_t, 4> borders{kernel[0] / 2, kernel[0] / 2, kernel[1] / 2, kernel[1] / 2};
  const auto padded = at::pad(as_batch(floats), borders, "reflect");
  auto result = at::conv2d(padded, weights.expand({channels, 1, kernel[1], kernel[0]}), {}, 1,
                           at::IntArrayRef{0}, 1, channels);
  if (!images.is_floating_point()) result = result.round_().to(images.scalar_type());
  return shaped_like(result, images);
}

torch::Tensor gaussian_blur(const torch::Tensor& images, KernelSize kernel) {
  const auto sigma = [](std::int64_t size) { return static_cast<double>(size) * 0.15 + 0.35; };
  return gaussian_blur(images, kernel, {sigma(kernel[0]), sigma(kernel[1])});
}

torch::Tensor gaussian_noise(const torch::Tensor& images, double mean, double sigma, bool clip,
                             at::Generator& generator) {
  if (!(sigma >= 0))
    throw std::invalid_argument("gaussian_noise: sigma is " + std::to_string(sigma) + ", expected 0 or more");
  const bool bytes = images.scalar_type() == at::kByte;
  if (!bytes && !images.is_floating_point())
    throw std::invalid_argument(std::string("gaussian_noise: expected uint8 or floating point, found ") +
                                c10::toString(images.scalar_type()));
  const auto normal =
      at::empty(images.sizes(), bytes ? at::kFloat : images.scalar_type()).normal_(0, 1, generator);
  if (!bytes) {
    const auto result = images + (normal * sigma + mean).to(images.device());
    return clip ? result.clamp(0, 1) : result;
  }
  const auto result = images + (normal * (sigma * 255) + mean * 255).to(images.device()).to(at::kShort);
  return (clip ? result.clamp(0, 255) : result).to(at::kByte);
}

}  // namespace functional

std::shared_ptr<const Transform> GaussianBlur(KernelSize kernel, Range sigma) {
  require_kernel("GaussianBlur", kernel);
  require_range("GaussianBlur: sigma", sigma, 0, INFINITY);
  if (sigma.min <= 0) throw std::invalid_argument("GaussianBlur: sigma begins at 0, expected more");
  return drawn_function("GaussianBlur", [=](const torch::Tensor& image, at::Generator& generator) {
    const auto both = drawn::uniform(sigma, generator);
    return functional::gaussian_blur(image, kernel, {both, both});
  });
}

std::shared_ptr<const Transform> GaussianBlur(std::int64_t kernel, Range sigma) {
  return GaussianBlur(KernelSize{kernel, kernel}, sigma);
}

std::shared_ptr<const Transform> GaussianNoise(double mean, double sigma, bool clip) {
  return drawn_function("GaussianNoise", [=](const torch::Tensor& image, at::Generator& generator) {
    return functional::gaussian_noise(image, mean, sigma, clip, generator);
  });
}

}  // namespace rtrain::data::transforms
