// Decodes images: JPEG, PNG, BMP, and PBM, PGM, PPM.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>

namespace rtrain::data {

/// What a data set does with a sample that cannot be read.
enum class OnError {
  kRaise,  ///< throws; the error names the file
  kSkip,   ///< leaves it out, counts it, and writes one warning for all of them
};

/// An image or another sample that cannot be read. what() names it, if it has a name, and says why.
class RTRAIN_API SampleError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// torchvision.io.ImageReadMode
enum class ImageMode {
  kRGB,        ///< 3 channels: gray is repeated, alpha is dropped, CMYK is converted, all as Pillow does
  kGray,       ///< 1 channel: (19595 R + 38470 G + 7471 B + 32768) / 65536, as Pillow
  kRGBAlpha,   ///< 4 channels; alpha is 255 in an image that has none
  kUnchanged,  ///< as many as the file has: 1, 2 (gray and alpha), 3 or 4; CMYK becomes RGB
};

/// How the bytes of an image become a tensor.
struct RTRAIN_API DecodeOptions {
  ImageMode mode = ImageMode::kRGB;
  /// turn the image as its EXIF orientation says (JPEG, PNG). torchvision and Pillow do not, by default
  bool apply_exif_orientation = false;
  /// JPEG only: decode at 1/2, 1/4 or 1/8 of the size, the smallest whose shorter edge has at least so many
  /// pixels. Faster if the image is resized to that anyway; the pixels are not those of the whole image
  /// resized. 0: whole images
  std::int64_t shrink_to = 0;
};

/// torchvision.io.decode_image. The format is told from the bytes.
/// JPEG is decoded as in Pillow, with libjpeg's defaults (exact inverse DCT, smooth upsampling). 16 bits a
/// channel become the upper 8. @return uint8 [C, H, W]. @thread any number at the same time.
/// @throws SampleError the bytes are no image, are broken or cut off, or have more than 178,956,970 pixels
///         (Pillow's limit); std::invalid_argument shrink_to < 0.
[[nodiscard]] RTRAIN_API torch::Tensor decode_image(std::span<const std::uint8_t> bytes,
                                                    const DecodeOptions& options = {});
/// torchvision.io.read_image. @throws SampleError names the path.
[[nodiscard]] RTRAIN_API torch::Tensor read_image(const std::filesystem::path& path,
                                                  const DecodeOptions& options = {});

}  // namespace rtrain::data
