// An image as PNG, for tools that show it.
#pragma once

#include <torch/types.h>

#include <string>

namespace rtrain::loggers {

struct EncodedImage {
  std::int64_t height = 0, width = 0;
  int channels = 0;
  std::string png;
};

/// @param image see Logger::log_image(). @throws std::invalid_argument another shape or type: names `tag` and
/// it.
[[nodiscard]] EncodedImage encode_png(const std::string& tag, const torch::Tensor& image);

}  // namespace rtrain::loggers
