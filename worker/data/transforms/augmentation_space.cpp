#include "worker/data/transforms/augmentation_space.h"

#include <rtrain/data/transforms/functional_color.h>
#include <rtrain/data/transforms/warp.h>

#include <ATen/ops/arange.h>
#include <ATen/ops/linspace.h>

#include <array>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace rtrain::data::transforms {
namespace {

double degrees_of_slope(double slope) { return std::atan(slope) * 180 / std::numbers::pi; }

WarpOptions warp_of(const AugmentOptions& options, std::optional<Point> center = {}) {
  return {.interpolation = options.interpolation, .fill = options.fill, .center = center};
}

torch::Tensor sheared(const torch::Tensor& image, Point slopes, const AugmentOptions& options) {
  return functional::affine(image, {.shear = {degrees_of_slope(slopes[0]), degrees_of_slope(slopes[1])}},
                            warp_of(options, Point{0, 0}));
}

torch::Tensor moved(const torch::Tensor& image, Point pixels, const AugmentOptions& options) {
  return functional::affine(image, {.translate = {std::trunc(pixels[0]), std::trunc(pixels[1])}},
                            warp_of(options));
}

torch::Tensor identity(const torch::Tensor& image, double, const AugmentOptions&) { return image; }
torch::Tensor shear_x(const torch::Tensor& image, double slope, const AugmentOptions& options) {
  return sheared(image, {slope, 0}, options);
}
torch::Tensor shear_y(const torch::Tensor& image, double slope, const AugmentOptions& options) {
  return sheared(image, {0, slope}, options);
}
torch::Tensor translate_x(const torch::Tensor& image, double pixels, const AugmentOptions& options) {
  return moved(image, {pixels, 0}, options);
}
torch::Tensor translate_y(const torch::Tensor& image, double pixels, const AugmentOptions& options) {
  return moved(image, {0, pixels}, options);
}
torch::Tensor turn(const torch::Tensor& image, double degrees, const AugmentOptions& options) {
  return functional::rotate(image, degrees, warp_of(options));
}
/// The factor 1 + magnitude of an adjustment.
template <torch::Tensor (*adjust)(const torch::Tensor&, double)>
torch::Tensor adjusted(const torch::Tensor& image, double magnitude, const AugmentOptions&) {
  return adjust(image, 1 + magnitude);
}
template <torch::Tensor (*function)(const torch::Tensor&)>
torch::Tensor plain(const torch::Tensor& image, double, const AugmentOptions&) {
  return function(image);
}
torch::Tensor fewer_bits(const torch::Tensor& image, double bits, const AugmentOptions&) {
  return functional::posterize(image, static_cast<std::int64_t>(bits));
}
torch::Tensor solarized(const torch::Tensor& image, double part, const AugmentOptions&) {
  return functional::solarize(image, part * (image.is_floating_point() ? 1 : 255));
}

/// Hundredths, so that they can be template arguments.
template <int hundredths>
torch::Tensor up_to(std::int64_t bins, std::int64_t, std::int64_t) {
  return at::linspace(0, hundredths / 100.0, bins, at::kFloat);
}
torch::Tensor from_one_to_zero(std::int64_t bins, std::int64_t, std::int64_t) {
  return at::linspace(1, 0, bins, at::kFloat);
}
/// 150 of the 331 pixels of the paper's images.
torch::Tensor part_of_331(std::int64_t bins, std::int64_t size) {
  return at::linspace(0, 150.0 / 331.0 * static_cast<double>(size), bins, at::kFloat);
}
torch::Tensor width_of_331(std::int64_t bins, std::int64_t, std::int64_t width) {
  return part_of_331(bins, width);
}
torch::Tensor height_of_331(std::int64_t bins, std::int64_t height, std::int64_t) {
  return part_of_331(bins, height);
}
torch::Tensor third_of_width(std::int64_t bins, std::int64_t, std::int64_t width) {
  return at::linspace(0, static_cast<double>(width) / 3, bins, at::kFloat);
}
torch::Tensor third_of_height(std::int64_t bins, std::int64_t height, std::int64_t) {
  return at::linspace(0, static_cast<double>(height) / 3, bins, at::kFloat);
}
/// From `most` bits down by `range` in the last bin.
template <int most, int range>
torch::Tensor bits(std::int64_t bins, std::int64_t, std::int64_t) {
  return (most - at::arange(bins, at::kLong) / (static_cast<double>(bins - 1) / range)).round();
}

/// What the spaces differ in. The order is torchvision's: a number that is drawn names the same operation.
struct Strengths {
  Operation::Magnitudes shear, x, y, rotation, color, posterize;
};

std::vector<Operation> moves(const Strengths& strengths) {
  return {{"ShearX", shear_x, strengths.shear, true},
          {"ShearY", shear_y, strengths.shear, true},
          {"TranslateX", translate_x, strengths.x, true},
          {"TranslateY", translate_y, strengths.y, true},
          {"Rotate", turn, strengths.rotation, true}};
}
std::vector<Operation> colors(const Strengths& strengths) {
  return {{"Brightness", adjusted<functional::adjust_brightness>, strengths.color, true},
          {"Color", adjusted<functional::adjust_saturation>, strengths.color, true},
          {"Contrast", adjusted<functional::adjust_contrast>, strengths.color, true},
          {"Sharpness", adjusted<functional::adjust_sharpness>, strengths.color, true}};
}
std::vector<Operation> tones(const Strengths& strengths) {
  return {{"Posterize", fewer_bits, strengths.posterize, false},
          {"Solarize", solarized, from_one_to_zero, false},
          {"AutoContrast", plain<functional::autocontrast>, nullptr, false},
          {"Equalize", plain<functional::equalize>, nullptr, false}};
}
const Operation kIdentity{"Identity", identity, nullptr, false};
const Operation kInvert{"Invert", plain<functional::invert>, nullptr, false};

std::vector<Operation> joined(std::initializer_list<std::vector<Operation>> parts) {
  std::vector<Operation> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace

const std::vector<Operation>& operations_of(AugmentationSpace space) {
  static constexpr Strengths kNarrow{up_to<30>,   width_of_331, height_of_331,
                                     up_to<3000>, up_to<90>,    bits<8, 4>};
  static constexpr Strengths kWide{up_to<99>, up_to<3200>, up_to<3200>, up_to<13500>, up_to<99>, bits<8, 6>};
  static constexpr Strengths kMixed{up_to<30>,   third_of_width, third_of_height,
                                    up_to<3000>, up_to<90>,      bits<4, 4>};
  const auto in_order = [](const Strengths& strengths) {
    return joined({moves(strengths), colors(strengths), tones(strengths)});
  };
  static const auto kRandAugment = joined({{kIdentity}, in_order(kNarrow)});
  static const auto kTrivial = joined({{kIdentity}, in_order(kWide)});
  static const auto kAutoAugment = joined({in_order(kNarrow), {kInvert}});
  static const auto kAugMixPartial = joined({moves(kMixed), tones(kMixed)});
  static const auto kAugMix = joined({kAugMixPartial, colors(kMixed)});
  switch (space) {
    case AugmentationSpace::kRandAugment: return kRandAugment;
    case AugmentationSpace::kTrivialAugmentWide: return kTrivial;
    case AugmentationSpace::kAutoAugment: return kAutoAugment;
    case AugmentationSpace::kAugMix: return kAugMix;
    case AugmentationSpace::kAugMixPartial: return kAugMixPartial;
  }
  throw std::invalid_argument("no such AugmentationSpace");
}

}  // namespace rtrain::data::transforms
