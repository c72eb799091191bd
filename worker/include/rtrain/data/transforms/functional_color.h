// torchvision.transforms.v2.functional, what values pixels have. The same operators of ATen in the same
// order, so the same values.
#pragma once

#include <rtrain/export.h>

#include <c10/core/ScalarType.h>
#include <torch/types.h>

#include <cstdint>

/// Images are [..., C, H, W], on any device: uint8, 0..255, or floating point, 0..1. The result has their
/// type, and may share their memory. Functions of colours ask for 1 or 3 channels (RGB), and throw
/// std::invalid_argument for others.
/// @thread any
namespace rtrain::data::transforms::functional {

/// @param scale uint8 and floating point are converted into each other's range: x * (1 / 255), and
///        x * 255.999 without the fraction. false: values stay what they are.
/// @throws std::invalid_argument for scale with other integers.
[[nodiscard]] RTRAIN_API torch::Tensor to_dtype(const torch::Tensor& images, at::ScalarType dtype,
                                                bool scale = false);

/// x * factor, clamped. @param factor 0: black, 1: the image.
[[nodiscard]] RTRAIN_API torch::Tensor adjust_brightness(const torch::Tensor& images, double factor);
/// Blends with the mean of the gray image. @param factor 0: gray, 1: the image.
[[nodiscard]] RTRAIN_API torch::Tensor adjust_contrast(const torch::Tensor& images, double factor);
/// Blends with the gray image. @param factor 0: gray, 1: the image. Images of one channel stay what they are.
[[nodiscard]] RTRAIN_API torch::Tensor adjust_saturation(const torch::Tensor& images, double factor);
/// Turns the hue, in float32 (HSV by Pillow's formulas). Images of one channel stay what they are.
/// @param factor of the circle, -0.5 to 0.5.
[[nodiscard]] RTRAIN_API torch::Tensor adjust_hue(const torch::Tensor& images, double factor);
/// gain * x ^ gamma, with x in 0..1. @param gamma 0 or more; above 1: shadows become darker.
[[nodiscard]] RTRAIN_API torch::Tensor adjust_gamma(const torch::Tensor& images, double gamma,
                                                    double gain = 1);
/// Blends with a smoothed image (3 x 3, weights 1 around 5, over 13); the border of one pixel stays.
/// @param factor 0: smoothed, 1: the image, 2: sharpened.
[[nodiscard]] RTRAIN_API torch::Tensor adjust_sharpness(const torch::Tensor& images, double factor);

/// 0.2989 r + 0.587 g + 0.114 b. @param channels of the result, 1 or 3 equal ones.
[[nodiscard]] RTRAIN_API torch::Tensor rgb_to_grayscale(const torch::Tensor& images,
                                                        std::int64_t channels = 1);
/// Keeps the `bits` highest bits of each byte, 0 to 8.
[[nodiscard]] RTRAIN_API torch::Tensor posterize(const torch::Tensor& images, std::int64_t bits);
/// Inverts what is `threshold` or more. @param threshold in the images' unit, at most its maximum.
[[nodiscard]] RTRAIN_API torch::Tensor solarize(const torch::Tensor& images, double threshold);
/// Stretches each channel so that its darkest value becomes 0 and its lightest the maximum.
[[nodiscard]] RTRAIN_API torch::Tensor autocontrast(const torch::Tensor& images);
/// Makes each channel's histogram even, by Pillow's formula on bytes.
[[nodiscard]] RTRAIN_API torch::Tensor equalize(const torch::Tensor& images);
/// 255 - x, or 1 - x.
[[nodiscard]] RTRAIN_API torch::Tensor invert(const torch::Tensor& images);

}  // namespace rtrain::data::transforms::functional
