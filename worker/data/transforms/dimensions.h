// The shape that functions of images ask for.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace rtrain::data::transforms {

/// @throws std::invalid_argument unless images are [..., C, H, W].
inline void require_images(const char* name, const torch::Tensor& images) {
  if (images.defined() && images.dim() >= 3) return;
  throw std::invalid_argument(std::string(name) + ": expected images [..., C, H, W], found " +
                              (images.defined() ? std::to_string(images.dim()) : std::string("no")) +
                              " dimensions");
}

/// @throws std::invalid_argument unless images are [..., 1 or 3, H, W].
inline void require_gray_or_rgb(const char* name, const torch::Tensor& images) {
  require_images(name, images);
  const auto channels = images.size(-3);
  if (channels != 1 && channels != 3)
    throw std::invalid_argument(std::string(name) + ": expected 1 or 3 channels, found " +
                                std::to_string(channels));
}

[[nodiscard]] inline std::string size_text(std::int64_t height, std::int64_t width) {
  return std::to_string(height) + " x " + std::to_string(width);
}

/// `images` as [N, C, H, W], for operators that know only that.
[[nodiscard]] inline torch::Tensor as_batch(const torch::Tensor& images) {
  return images.reshape({-1, images.size(-3), images.size(-2), images.size(-1)});
}

/// The dimensions of `like` with the last three of `batch`.
[[nodiscard]] inline torch::Tensor shaped_like(const torch::Tensor& batch, const torch::Tensor& like) {
  auto sizes = like.sizes().vec();
  for (std::size_t i = 1; i <= 3; ++i) sizes[sizes.size() - i] = batch.size(-static_cast<std::int64_t>(i));
  return batch.reshape(sizes);
}

}  // namespace rtrain::data::transforms
