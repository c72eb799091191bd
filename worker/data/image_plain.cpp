// Formats without compression: BMP, and PBM, PGM, PPM.
#include "worker/data/image_format.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <limits>

namespace rtrain::data {
namespace {

[[noreturn]] void ends_too_early() { throw SampleError("the file ends too early"); }

/// A BMP's numbers are little-endian.
class Bitmap {
 public:
  explicit Bitmap(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  [[nodiscard]] std::uint32_t number(std::size_t at, std::size_t size) const {
    if (at + size > bytes_.size()) ends_too_early();
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value |= std::uint32_t{bytes_[at + i]} << (8 * i);
    return value;
  }
  [[nodiscard]] std::int64_t signed_number(std::size_t at) const {
    return static_cast<std::int32_t>(number(at, 4));
  }
  [[nodiscard]] std::span<const std::uint8_t> part(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) ends_too_early();
    return bytes_.subspan(at, size);
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

/// The text of a PNM: numbers between spaces and comments.
class PlainText {
 public:
  explicit PlainText(std::span<const std::uint8_t> bytes) : rest_(bytes.subspan(2)) {}
  [[nodiscard]] std::int64_t number() {
    skip_space();
    if (rest_.empty()) ends_too_early();
    std::int64_t value = 0;
    bool any = false;
    while (!rest_.empty() && std::isdigit(rest_[0]) != 0) {
      value = std::min<std::int64_t>(value * 10 + (rest_[0] - '0'), std::numeric_limits<std::int32_t>::max());
      rest_ = rest_.subspan(1);
      any = true;
    }
    if (!any) throw SampleError("a number is expected in the header");
    return value;
  }
  /// Of a plain bitmap: digits may stand together.
  [[nodiscard]] std::int64_t digit() {
    skip_space();
    if (rest_.empty()) ends_too_early();
    const auto value = rest_[0] - '0';
    rest_ = rest_.subspan(1);
    return value;
  }
  /// What stands behind the one space that ends the header.
  [[nodiscard]] std::span<const std::uint8_t> raster() const {
    if (rest_.empty()) ends_too_early();
    return rest_.subspan(1);
  }

 private:
  void skip_space() {
    while (!rest_.empty() && (std::isspace(rest_[0]) != 0 || rest_[0] == '#')) {
      if (rest_[0] == '#')
        while (!rest_.empty() && rest_[0] != '\n') rest_ = rest_.subspan(1);
      else
        rest_ = rest_.subspan(1);
    }
  }
  std::span<const std::uint8_t> rest_;
};

}  // namespace

// https://learn.microsoft.com/windows/win32/gdi/bitmap-storage
Pixels decode_bmp(std::span<const std::uint8_t> bytes, const DecodeOptions&) {
  const Bitmap file(bytes);
  constexpr std::size_t kFileHeader = 14, kInfoHeader = 40;
  const auto offset = file.number(10, 4);
  const auto header = file.number(14, 4);
  if (header < kInfoHeader) throw SampleError("a header of OS/2, which is not read");
  const auto width = file.signed_number(18);
  const auto stored_height = file.signed_number(22);
  const auto bits = file.number(28, 2);
  const auto compression = file.number(30, 4);
  constexpr std::uint32_t kPlain = 0, kMasks = 3;
  const bool usual_masks = compression == kMasks && bits == 32 && file.number(54, 4) == 0xff0000 &&
                           file.number(58, 4) == 0xff00 && file.number(62, 4) == 0xff;
  if (compression != kPlain && !usual_masks)
    throw SampleError("compression " + std::to_string(compression) +
                      ", which is not read; save it uncompressed");
  constexpr std::array<std::uint32_t, 5> kBits{1, 4, 8, 24, 32};
  if (std::find(kBits.begin(), kBits.end(), bits) == kBits.end())
    throw SampleError(std::to_string(bits) + " bits a pixel, which are not read");

  Pixels pixels;
  pixels.resize(std::abs(stored_height), width, 3);
  const auto stride = (static_cast<std::size_t>(width) * bits + 31) / 32 * 4;
  std::span<const std::uint8_t> palette;
  if (bits <= 8) {
    const auto used = file.number(46, 4);
    const auto colors = used == 0 ? 1u << bits : std::min(used, 1u << bits);
    palette = file.part(kFileHeader + header, std::size_t{4} * colors);
  }
  for (std::int64_t y = 0; y < pixels.height; ++y) {
    const auto stored = stored_height > 0 ? pixels.height - 1 - y : y;  // from the bottom up
    const auto row = file.part(offset + static_cast<std::size_t>(stored) * stride, stride);
    auto* to = pixels.row(y);
    for (std::size_t x = 0; x < static_cast<std::size_t>(width); ++x, to += 3) {
      const std::uint8_t* blue = nullptr;
      if (bits <= 8) {
        const auto place = x * bits;
        const auto index = (row[place / 8] >> (8 - bits - place % 8)) & ((1u << bits) - 1);
        if (4 * index + 3 >= palette.size()) throw SampleError("a pixel's color is not in the palette");
        blue = palette.data() + 4 * index;
      } else {
        blue = row.data() + x * (bits / 8);
      }
      to[0] = blue[2];
      to[1] = blue[1];
      to[2] = blue[0];
    }
  }
  return pixels;
}

// https://netpbm.sourceforge.net/doc/ppm.html and its siblings
Pixels decode_pnm(std::span<const std::uint8_t> bytes, const DecodeOptions&) {
  const int kind = bytes[1] - '0';
  const bool is_plain = kind <= 3, is_bitmap = kind == 1 || kind == 4;
  PlainText text(bytes);
  const auto width = text.number();
  const auto height = text.number();
  const auto most = is_bitmap ? 1 : text.number();
  if (most < 1 || most > 65535) throw SampleError("the largest value is " + std::to_string(most));
  Pixels pixels;
  pixels.resize(height, width, kind == 3 || kind == 6 ? 3 : 1);
  const auto scaled = [most](std::int64_t value) {
    return static_cast<std::uint8_t>((std::min(value, most) * 255 * 2 + most) / (most * 2));
  };
  auto& values = pixels.bytes;
  if (is_plain) {
    for (auto& value : values)
      value = is_bitmap ? static_cast<std::uint8_t>(text.digit() == 0 ? 255 : 0) : scaled(text.number());
    return pixels;
  }
  const auto raster = text.raster();
  if (is_bitmap) {
    const auto columns = static_cast<std::size_t>(width), stride = (columns + 7) / 8;
    if (raster.size() < stride * static_cast<std::size_t>(height)) ends_too_early();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto x = i % columns;
      const bool black = ((raster[i / columns * stride + x / 8] >> (7 - x % 8)) & 1) != 0;
      values[i] = black ? 0 : 255;
    }
    return pixels;
  }
  const std::size_t size = most > 255 ? 2 : 1;
  if (raster.size() < size * values.size()) ends_too_early();
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = scaled(size == 1 ? raster[i] : raster[2 * i] * 256 + raster[2 * i + 1]);
  return pixels;
}

}  // namespace rtrain::data
