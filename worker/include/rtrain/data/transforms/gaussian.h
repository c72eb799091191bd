// Gaussian blur and noise.
#pragma once

#include <rtrain/data/transforms.h>
#include <rtrain/data/transforms/image_options.h>

#include <array>

namespace rtrain::data::transforms {

/// Width and height, in this order as in torchvision; odd.
using KernelSize = std::array<std::int64_t, 2>;

namespace functional {
/// Weights exp(-x^2 / (2 sigma^2)), normalized; borders are reflected. In float32 for uint8, and rounded.
/// @param sigma of width and height, above 0.
/// @throws std::invalid_argument for an even kernel, or one whose half does not fit into the image.
[[nodiscard]] RTRAIN_API torch::Tensor gaussian_blur(const torch::Tensor& images, KernelSize kernel,
                                                     std::array<double, 2> sigma);
/// The same with sigma = 0.15 * size + 0.35.
[[nodiscard]] RTRAIN_API torch::Tensor gaussian_blur(const torch::Tensor& images, KernelSize kernel);
/// Adds noise of N(mean, sigma^2), for uint8 in units of 255.
/// @param clip to 0..1 or 0..255; without, bytes wrap around.
/// @param generator on the CPU.
[[nodiscard]] RTRAIN_API torch::Tensor gaussian_noise(const torch::Tensor& images, double mean, double sigma,
                                                      bool clip, at::Generator& generator);
}  // namespace functional

/// One sigma for width and height, uniform in `sigma`. @see functional::gaussian_blur()
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> GaussianBlur(KernelSize kernel,
                                                                       Range sigma = {0.1, 2});
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> GaussianBlur(std::int64_t kernel,
                                                                       Range sigma = {0.1, 2});
/// @see functional::gaussian_noise()
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> GaussianNoise(double mean = 0, double sigma = 0.1,
                                                                        bool clip = true);

}  // namespace rtrain::data::transforms
