// torchvision.transforms.v2.functional, where pixels go: sizes, crops, borders, flips. The same operators of
// ATen in the same order, so the same values.
#pragma once

#include <rtrain/data/transforms/image_options.h>
#include <rtrain/export.h>

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <optional>

/// Images are [..., C, H, W], uint8 or floating point, on any device. The result has their type, and may
/// share their memory. All functions throw std::invalid_argument for fewer than three dimensions.
/// @thread any
namespace rtrain::data::transforms::functional {

struct RTRAIN_API ResizeOptions {
  Interpolation interpolation = Interpolation::kBilinear;
  /// limit of the longer edge; only for a size of one number, and above it
  std::optional<std::int64_t> max_size{};
  bool antialias = true;  ///< of bilinear and bicubic when an image becomes smaller
};

/// The height and width that resize() gives to images of `height` x `width`. Of one number: the shorter edge
/// is `size`, the longer int(size * longer / shorter), and at most max_size.
/// @throws std::invalid_argument for a size below 1, or max_size with a pair or not above `size`.
[[nodiscard]] RTRAIN_API std::array<std::int64_t, 2> resized_size(std::int64_t height, std::int64_t width,
                                                                  ImageSize size,
                                                                  std::optional<std::int64_t> max_size = {});
/// uint8 on a CPU with AVX2 is computed in integers, as torchvision does; elsewhere in float32 and rounded.
[[nodiscard]] RTRAIN_API torch::Tensor resize(const torch::Tensor& images, ImageSize size,
                                              const ResizeOptions& options = {});

/// Rows [top, top + height) and columns [left, left + width); zeros where that is outside of the image.
[[nodiscard]] RTRAIN_API torch::Tensor crop(const torch::Tensor& images, std::int64_t top, std::int64_t left,
                                            std::int64_t height, std::int64_t width);
/// Begins at round((H - height) / 2), half to even. Images that are smaller get borders of zeros first.
[[nodiscard]] RTRAIN_API torch::Tensor center_crop(const torch::Tensor& images, ImageSize size);
/// crop(), then resize() to a square or a pair.
[[nodiscard]] RTRAIN_API torch::Tensor resized_crop(const torch::Tensor& images, std::int64_t top,
                                                    std::int64_t left, std::int64_t height,
                                                    std::int64_t width, ImageSize size,
                                                    const ResizeOptions& options = {});
/// Top left, top right, bottom left, bottom right, centre.
/// @throws std::invalid_argument if the images are smaller.
[[nodiscard]] RTRAIN_API std::array<torch::Tensor, 5> five_crop(const torch::Tensor& images, ImageSize size);
/// five_crop() of the images, then of the flipped images.
[[nodiscard]] RTRAIN_API std::array<torch::Tensor, 10> ten_crop(const torch::Tensor& images, ImageSize size,
                                                                bool vertical_flip = false);

/// @throws std::invalid_argument for several fill values with a mode other than kConstant, and for borders
///         that the mode cannot fill: kReflect needs fewer than the image has, kSymmetric no more.
[[nodiscard]] RTRAIN_API torch::Tensor pad(const torch::Tensor& images, Borders borders,
                                           const Fill& fill = {0}, PaddingMode mode = PaddingMode::kConstant);

/// Swaps left and right.
[[nodiscard]] RTRAIN_API torch::Tensor hflip(const torch::Tensor& images);
/// Swaps top and bottom.
[[nodiscard]] RTRAIN_API torch::Tensor vflip(const torch::Tensor& images);

}  // namespace rtrain::data::transforms::functional
