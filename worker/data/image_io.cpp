#include <rtrain/data/image_io.h>

#include "worker/data/file_bytes.h"
#include "worker/data/image_format.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace rtrain::data {
namespace {

bool begins_with(std::span<const std::uint8_t> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
}

using Bytes = std::span<const std::uint8_t>;

constexpr std::array kFormats{
    ImageFormat{"JPEG", [](Bytes bytes) { return begins_with(bytes, "\xff\xd8\xff"); }, decode_jpeg},
    ImageFormat{"PNG", [](Bytes bytes) { return begins_with(bytes, "\x89PNG\r\n\x1a\n"); }, decode_png},
    ImageFormat{"BMP", [](Bytes bytes) { return begins_with(bytes, "BM"); }, decode_bmp},
    ImageFormat{
        "PNM",
        [](Bytes bytes) { return bytes.size() > 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6'; },
        decode_pnm}};

/// Formats whose names people know, for the error.
constexpr std::array<std::pair<std::string_view, const char*>, 5> kOthers{
    {{"GIF8", "GIF"},
     {"RIFF", "WebP"},
     {{"II*\0", 4}, "TIFF"},
     {{"MM\0*", 4}, "TIFF"},
     {{"\0\0\0\x0cjP", 6}, "JPEG 2000"}}};

[[noreturn]] void refuse_format(Bytes bytes) {
  if (bytes.empty()) throw SampleError("the file is empty");
  std::string what = "no image";
  for (const auto& [magic, name] : kOthers)
    if (begins_with(bytes, magic)) what = std::string("an image in the format ") + name;
  throw SampleError(what + "; read are JPEG, PNG, BMP, PBM, PGM and PPM");
}

int channels_of(ImageMode mode, int own) {
  switch (mode) {
    case ImageMode::kGray: return 1;
    case ImageMode::kRGB: return 3;
    case ImageMode::kRGBAlpha: return 4;
    case ImageMode::kUnchanged: break;
  }
  return own;
}

/// Interleaved bytes into planes of another number of channels.
torch::Tensor planes_of(const Pixels& pixels, int channels) {
  auto planes = at::empty({channels, pixels.height, pixels.width}, at::kByte);
  auto* const to = planes.mutable_data_ptr<std::uint8_t>();
  const auto area = static_cast<std::size_t>(pixels.height * pixels.width);
  const auto own = static_cast<std::size_t>(pixels.channels);
  const auto* const from = pixels.bytes.data();
  const bool colored = own >= 3;
  const auto copy = [&](std::size_t channel, std::size_t source) {
    auto* const plane = to + channel * area;
    for (std::size_t i = 0; i < area; ++i) plane[i] = from[i * own + source];
  };
  if (channels == 1 && colored) {
    for (std::size_t i = 0; i < area; ++i) {
      const auto* pixel = from + i * own;
      to[i] = static_cast<std::uint8_t>(
          (19595u * pixel[0] + 38470u * pixel[1] + 7471u * pixel[2] + 0x8000u) >> 16);
    }
    return planes;
  }
  if (channels == 3 && own == 3) {
    auto *red = to, *green = to + area, *blue = to + 2 * area;
    for (std::size_t i = 0; i < area; ++i) {
      red[i] = from[3 * i];
      green[i] = from[3 * i + 1];
      blue[i] = from[3 * i + 2];
    }
    return planes;
  }
  const bool wants_alpha = channels == 2 || channels == 4, has_alpha = own == 2 || own == 4;
  const auto colors = static_cast<std::size_t>(channels - (wants_alpha ? 1 : 0));
  for (std::size_t channel = 0; channel < colors; ++channel) copy(channel, colored ? channel : 0);
  if (wants_alpha && has_alpha) copy(colors, own - 1);
  if (wants_alpha && !has_alpha) std::fill_n(to + colors * area, area, std::uint8_t{255});
  return planes;
}

/// As EXIF defines the values: how the stored rows and columns are seen.
torch::Tensor oriented(torch::Tensor image, int orientation) {
  switch (orientation) {
    case 2: image = image.flip({2}); break;
    case 3: image = image.flip({1, 2}); break;
    case 4: image = image.flip({1}); break;
    case 5: image = image.transpose(1, 2); break;
    case 6: image = image.transpose(1, 2).flip({2}); break;
    case 7: image = image.transpose(1, 2).flip({1, 2}); break;
    case 8: image = image.transpose(1, 2).flip({1}); break;
    default: break;
  }
  return image.contiguous();
}

}  // namespace

void Pixels::resize(std::int64_t of_height, std::int64_t of_width, int of_channels) {
  constexpr std::int64_t kPixelsMax = 178'956'970;  // Pillow's, where it raises DecompressionBombError
  const auto size = std::to_string(of_width) + " x " + std::to_string(of_height);
  if (of_height < 1 || of_width < 1) throw SampleError("the image has " + size + " pixels");
  if (of_width > kPixelsMax / of_height)
    throw SampleError("the image has " + size + " pixels; more than " + std::to_string(kPixelsMax) +
                      " are not decoded");
  height = of_height;
  width = of_width;
  channels = of_channels;
  bytes.resize(static_cast<std::size_t>(height * width * channels));
}

int exif_orientation(std::span<const std::uint8_t> tiff) {
  constexpr std::size_t kHeader = 8, kEntry = 12;
  constexpr unsigned kOrientation = 0x0112;
  if (tiff.size() < kHeader) return 1;
  const bool little = tiff[0] == 'I';
  const auto number = [&](std::size_t at, std::size_t size) {
    std::size_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
      value |= std::size_t{tiff[at + i]} << (8 * (little ? i : size - 1 - i));
    return value;
  };
  const auto directory = number(4, 4);
  if (directory + 2 > tiff.size()) return 1;
  const auto entries = number(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const auto at = directory + 2 + i * kEntry;
    if (at + kEntry > tiff.size()) return 1;
    if (number(at, 2) != kOrientation) continue;
    const auto value = number(at + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

torch::Tensor decode_image(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  if (options.shrink_to < 0)
    throw std::invalid_argument("decode_image: shrink_to is " + std::to_string(options.shrink_to) +
                                ", expected 0 (whole images) or more");
  const auto* const format =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const auto& f) { return f.matches(bytes); });
  if (format == kFormats.end()) refuse_format(bytes);
  try {
    const auto pixels = format->decode(bytes, options);
    auto image = planes_of(pixels, channels_of(options.mode, pixels.channels));
    return options.apply_exif_orientation ? oriented(std::move(image), pixels.orientation) : image;
  } catch (const SampleError& error) {
    throw SampleError(std::string(format->name) + ": " + error.what());
  }
}

torch::Tensor read_image(const std::filesystem::path& path, const DecodeOptions& options) {
  try {
    return decode_image(read_bytes(path), options);
  } catch (const SampleError& error) {
    throw SampleError(path.string() + ": " + error.what());
  }
}

}  // namespace rtrain::data
