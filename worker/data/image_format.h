// What decode_image() asks of a format.
#pragma once

#include <rtrain/data/image_io.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rtrain::data {

/// Rows of interleaved bytes: gray, gray and alpha, RGB, or RGB and alpha.
struct Pixels {
  std::int64_t height = 0, width = 0;
  int channels = 0;
  std::vector<std::uint8_t> bytes{};
  int orientation = 1;  ///< EXIF's, 1 to 8

  /// Makes room. @throws SampleError more pixels than an image may have, or none.
  void resize(std::int64_t of_height, std::int64_t of_width, int of_channels);
  [[nodiscard]] std::uint8_t* row(std::int64_t y) {
    return bytes.data() + static_cast<std::size_t>(y * width * channels);
  }
};

struct ImageFormat {
  const char* name;
  bool (*matches)(std::span<const std::uint8_t> bytes);
  /// @throws SampleError says why, without the format's name.
  Pixels (*decode)(std::span<const std::uint8_t> bytes, const DecodeOptions& options);
};

Pixels decode_jpeg(std::span<const std::uint8_t> bytes, const DecodeOptions& options);
Pixels decode_png(std::span<const std::uint8_t> bytes, const DecodeOptions& options);
Pixels decode_bmp(std::span<const std::uint8_t> bytes, const DecodeOptions& options);
Pixels decode_pnm(std::span<const std::uint8_t> bytes, const DecodeOptions& options);

/// The orientation that TIFF data of EXIF names (its tag 0x0112), 1 if none. Exif 2.3, 4.6.4.
[[nodiscard]] int exif_orientation(std::span<const std::uint8_t> tiff);

}  // namespace rtrain::data
