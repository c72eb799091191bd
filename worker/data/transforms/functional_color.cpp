#include <rtrain/data/transforms/functional_color.h>

#include "worker/data/transforms/dimensions.h"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/full.h>

namespace rtrain::data::transforms::functional {
namespace {

double maximum_of(const char* name, const torch::Tensor& images) {
  if (images.is_floating_point()) return 1;
  if (images.scalar_type() == at::kByte) return 255;
  throw std::invalid_argument(std::string(name) + ": expected uint8 or floating point, found " +
                              c10::toString(images.scalar_type()));
}

void require_factor(const char* name, double factor) {
  if (!(factor >= 0))
    throw std::invalid_argument(std::string(name) + ": the factor is " + std::to_string(factor) +
                                ", expected 0 or more");
}

/// Gray in floating point, [..., 1, H, W].
torch::Tensor gray_of(const torch::Tensor& images) {
  const auto channels = images.unbind(-3);
  return channels[0].mul(0.2989).add_(channels[1], 0.587).add_(channels[2], 0.114).unsqueeze(-3);
}

/// The same without a fraction for images of bytes, as Pillow has it.
torch::Tensor gray_for_blend(const torch::Tensor& images) {
  auto gray = gray_of(images);
  return images.is_floating_point() ? gray : gray.floor_();
}

torch::Tensor blended(const torch::Tensor& images, const torch::Tensor& other, double ratio, double maximum) {
  return images.mul(ratio).add_(other, 1 - ratio).clamp_(0, maximum).to(images.scalar_type());
}

}  // namespace

torch::Tensor to_dtype(const torch::Tensor& images, at::ScalarType dtype, bool scale) {
  const auto from = images.scalar_type();
  if (from == dtype) return images;
  const bool to_floats = at::isFloatingType(dtype);
  if (!scale || (images.is_floating_point() && to_floats)) return images.to(dtype);
  if (from == at::kByte && to_floats) return images.to(dtype).mul_(1.0 / 255);
  if (images.is_floating_point() && dtype == at::kByte) return images.mul(255 + 1 - 1e-3).to(dtype);
  throw std::invalid_argument(std::string("to_dtype: scale converts between uint8 and floating point, not ") +
                              c10::toString(from) + " to " + c10::toString(dtype));
}

torch::Tensor adjust_brightness(const torch::Tensor& images, double factor) {
  require_gray_or_rgb("adjust_brightness", images);
  require_factor("adjust_brightness", factor);
  return images.mul(factor).clamp_(0, maximum_of("adjust_brightness", images)).to(images.scalar_type());
}

torch::Tensor adjust_contrast(const torch::Tensor& images, double factor) {
  require_gray_or_rgb("adjust_contrast", images);
  require_factor("adjust_contrast", factor);
  const auto maximum = maximum_of("adjust_contrast", images);
  const auto gray = images.size(-3) == 3
                        ? gray_for_blend(images)
                        : images.to(images.is_floating_point() ? images.scalar_type() : at::kFloat);
  return blended(images, gray.mean({-3, -2, -1}, /*keepdim=*/true), factor, maximum);
}

torch::Tensor adjust_saturation(const torch::Tensor& images, double factor) {
  require_gray_or_rgb("adjust_saturation", images);
  require_factor("adjust_saturation", factor);
  if (images.size(-3) == 1) return images;
  return blended(images, gray_for_blend(images), factor, maximum_of("adjust_saturation", images));
}

torch::Tensor adjust_gamma(const torch::Tensor& images, double gamma, double gain) {
  require_images("adjust_gamma", images);
  require_factor("adjust_gamma", gamma);
  auto result =
      images.is_floating_point() ? images.pow(gamma) : to_dtype(images, at::kFloat, true).pow_(gamma);
  if (gain != 1) result.mul_(gain).clamp_(0, 1);
  return to_dtype(result, images.scalar_type(), true);
}

torch::Tensor adjust_sharpness(const torch::Tensor& images, double factor) {
  require_gray_or_rgb("adjust_sharpness", images);
  require_factor("adjust_sharpness", factor);
  if (images.numel() == 0 || images.size(-2) <= 2 || images.size(-1) <= 2) return images;
  const auto maximum = maximum_of("adjust_sharpness", images);
  const bool floats = images.is_floating_point();
  auto result = as_batch(images).to(floats ? images.scalar_type() : at::kFloat, /*non_blocking=*/false,
                                    /*copy=*/true);
  const auto channels = images.size(-3);
  auto weights = at::full({3, 3}, 1.0 / 13, result.options());
  weights.select(0, 1).select(0, 1).fill_(5.0 / 13);
  auto smooth =
      at::conv2d(result, weights.expand({channels, 1, 3, 3}), {}, 1, at::IntArrayRef{0}, 1, channels);
  if (!floats) smooth.round_();
  auto inner = result.narrow(-2, 1, images.size(-2) - 2).narrow(-1, 1, images.size(-1) - 2);
  inner.add_(smooth.sub_(inner), 1 - factor);
  return shaped_like(result.clamp_(0, maximum).to(images.scalar_type()), images);
}

torch::Tensor rgb_to_grayscale(const torch::Tensor& images, std::int64_t channels) {
  require_gray_or_rgb("rgb_to_grayscale", images);
  if (channels != 1 && channels != 3)
    throw std::invalid_argument("rgb_to_grayscale: channels is " + std::to_string(channels) +
                                ", expected 1 or 3");
  const auto gray = images.size(-3) == 1 ? images : gray_of(images).to(images.scalar_type());
  if (channels == 1) return gray;
  auto sizes = images.sizes().vec();
  sizes[sizes.size() - 3] = 3;
  return gray.expand(sizes);
}

torch::Tensor posterize(const torch::Tensor& images, std::int64_t bits) {
  require_images("posterize", images);
  if (bits < 0 || bits > 8)
    throw std::invalid_argument("posterize: bits is " + std::to_string(bits) + ", expected 0 to 8");
  const auto levels = static_cast<double>(1 << bits);
  (void)maximum_of("posterize", images);
  if (images.is_floating_point()) return images.mul(levels).floor_().clamp_(0, levels - 1).mul_(1.0 / levels);
  if (bits == 8) return images;
  return images.bitwise_and(((1 << bits) - 1) << (8 - bits));
}

torch::Tensor solarize(const torch::Tensor& images, double threshold) {
  require_images("solarize", images);
  if (threshold > maximum_of("solarize", images))
    throw std::invalid_argument("solarize: the threshold is " + std::to_string(threshold) +
                                ", more than the images' maximum");
  return at::where(images >= threshold, invert(images), images);
}

torch::Tensor autocontrast(const torch::Tensor& images) {
  require_gray_or_rgb("autocontrast", images);
  if (images.numel() == 0) return images;
  const auto maximum = maximum_of("autocontrast", images);
  const auto floats = images.is_floating_point() ? images : images.to(at::kFloat);
  auto darkest = floats.amin({-2, -1}, /*keepdim=*/true);
  auto scale = floats.amax({-2, -1}, /*keepdim=*/true);
  const auto even = scale == darkest;
  scale.sub_(darkest).mul_(1.0 / maximum);
  darkest.masked_fill_(even, 0.0);
  scale.masked_fill_(even, 1.0);
  return floats.sub(darkest).div_(scale).clamp_(0, maximum).to(images.scalar_type());
}

torch::Tensor equalize(const torch::Tensor& images) {
  require_images("equalize", images);
  (void)maximum_of("equalize", images);
  if (images.numel() == 0) return images;
  const auto bytes = to_dtype(images, at::kByte, true);
  const auto places = bytes.flatten(-2).to(at::kLong);
  auto sizes = places.sizes().vec();
  sizes.back() = 256;
  auto histogram = at::zeros(sizes, places.options().dtype(at::kInt));
  histogram.scatter_add_(-1, places, at::ones({1}, histogram.options()).expand_as(places));
  auto sum = histogram.cumsum(-1, at::kLong);
  // Pillow's formula leaves out the pixels of the largest value: the first place where the sum is complete.
  const auto largest = sum.argmax(-1, /*keepdim=*/true);
  auto step = (places.size(-1) - histogram.gather(-1, largest)).div_(255, "floor");
  const auto enough = step.ne(0).unsqueeze(-1);
  auto below = sum.narrow(-1, 0, 255);
  below.add_(step.div(2, "floor")).div_(step.clamp_min(1), "floor").clamp_(0, 255);
  const auto table = at::constant_pad_nd(below.to(at::kByte), {1, 0}, 0);
  const auto even = table.gather(-1, places).view_as(bytes);
  return to_dtype(at::where(enough, even, bytes), images.scalar_type(), true);
}

torch::Tensor invert(const torch::Tensor& images) {
  (void)maximum_of("invert", images);
  return images.is_floating_point() ? 1.0 - images : images.bitwise_not();
}

}  // namespace rtrain::data::transforms::functional
