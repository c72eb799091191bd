// adjust_hue: RGB to HSV and back.
#include <rtrain/data/transforms/functional_color.h>

#include "worker/data/transforms/dimensions.h"

#include <ATen/ops/aminmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <array>

namespace rtrain::data::transforms::functional {
namespace {

/// Hue, saturation and value, each [..., H, W] in 0..1. Pillow's formulas (libImaging/Convert.c, rgb2hsv).
std::array<torch::Tensor, 3> hsv_of(const torch::Tensor& rgb) {
  const auto channels = rgb.unbind(-3);
  const auto [least, most] = at::aminmax(rgb, -3);
  // Where all three are equal there is no hue, and nothing to divide by.
  const auto gray = most == least;
  const auto range = most - least;
  const auto one = at::ones_like(most);
  const auto saturation = range / at::where(gray, one, most);
  const auto distances = ((most.unsqueeze(-3) - rgb) / at::where(gray, one, range).unsqueeze(-3)).unbind(-3);
  const auto &red = distances[0], &green = distances[1], &blue = distances[2];

  const auto red_is_not_most = most != channels[0];
  const auto green_is_most = most == channels[1];
  auto of_red = blue.sub(green).mul_(red_is_not_most.logical_not());
  const auto of_green = red.add(2.0).sub_(blue).mul_(green_is_most & red_is_not_most);
  const auto of_blue =
      green.add(4.0).sub_(red).mul_(red_is_not_most.logical_and(green_is_most.logical_not()));
  const auto hue = of_red.add_(of_green).add_(of_blue).mul_(1.0 / 6.0).add_(1.0).fmod_(1.0);
  return {hue, saturation, most};
}

torch::Tensor rgb_of(const torch::Tensor& hue, const torch::Tensor& saturation, const torch::Tensor& value) {
  const auto sixths = hue.mul(6);
  const auto whole = sixths.floor();
  auto part = saturation * (sixths - whole);
  auto rest = 1.0 - saturation;
  const auto q = (1.0 - part).mul_(value).clamp_(0.0, 1.0);
  const auto t = part.add_(rest).mul_(value).clamp_(0.0, 1.0);
  const auto p = rest.mul_(value).clamp_(0.0, 1.0);
  // Which of (value, p, q, t) is red, green and blue in each sixth of the circle.
  const auto choices = at::stack({value, p, q, t}, -3);
  static const std::array<std::int64_t, 18> kChoice{0, 2, 1, 1, 3, 0, 3, 0, 0, 2, 1, 1, 1, 1, 3, 0, 0, 2};
  const auto choice = at::tensor(kChoice, at::kLong).view({3, 6}).to(hue.device());
  const auto sixth = whole.to(at::kLong).remainder_(6);
  const auto chosen = choice.index_select(1, sixth.flatten());
  auto sizes = sixth.sizes().vec();
  sizes.insert(sizes.begin(), 3);
  return choices.gather(-3, chosen.view(sizes).moveaxis(0, -3));
}

}  // namespace

torch::Tensor adjust_hue(const torch::Tensor& images, double factor) {
  require_gray_or_rgb("adjust_hue", images);
  if (!(factor >= -0.5 && factor <= 0.5))
    throw std::invalid_argument("adjust_hue: the factor is " + std::to_string(factor) +
                                ", expected -0.5 to 0.5");
  if (images.size(-3) == 1 || images.numel() == 0) return images;
  auto [hue, saturation, value] = hsv_of(to_dtype(images, at::kFloat, true));
  hue.add_(factor).remainder_(1.0);
  return to_dtype(rgb_of(hue, saturation, value), images.scalar_type(), true);
}

}  // namespace rtrain::data::transforms::functional
