#include "worker/loggers/png.h"

#include <torch/torch.h>
#include <zlib.h>

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace rtrain::loggers {
namespace {

[[noreturn]] void refuse(const std::string& tag, const torch::Tensor& image) {
  std::ostringstream text;
  text << "log_image(\"" << tag << "\"): the image is " << image.scalar_type() << " of shape "
       << image.sizes()
       << ", expected [height, width] or [channels, height, width] with 1, 3 or 4 channels, as uint8 or a "
          "floating-point type";
  throw std::invalid_argument(text.str());
}

void append_big_endian(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

void append_chunk(std::string& out, std::string_view type, std::string_view content) {
  append_big_endian(out, static_cast<std::uint32_t>(content.size()));
  const auto begin = out.size();
  out += type;
  out += content;
  append_big_endian(out,
                    static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(out.data() + begin),
                                                     static_cast<uInt>(out.size() - begin))));
}

}  // namespace

EncodedImage encode_png(const std::string& tag, const torch::Tensor& image) {
  const torch::NoGradGuard no_grad;
  auto pixels = image.dim() == 2 ? image.unsqueeze(0) : image;
  const auto channels = pixels.dim() == 3 ? pixels.size(0) : 0;
  const bool whole = pixels.scalar_type() == torch::kUInt8;
  if ((channels != 1 && channels != 3 && channels != 4) || pixels.numel() == 0 ||
      (!whole && !pixels.is_floating_point()))
    refuse(tag, image);
  if (!whole)
    pixels = (pixels.to(torch::kFloat32).nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch::kUInt8);
  pixels = pixels.permute({1, 2, 0}).to(torch::kCPU).contiguous();

  EncodedImage result{pixels.size(0), pixels.size(1), static_cast<int>(channels), {}};
  const auto row = static_cast<std::size_t>(result.width * channels);
  std::string lines;
  for (std::int64_t y = 0; y < result.height; ++y) {
    lines += '\0';  // no filter
    lines.append(reinterpret_cast<const char*>(pixels.const_data_ptr<std::uint8_t>()) +
                     static_cast<std::size_t>(y) * row,
                 row);
  }
  auto size = compressBound(static_cast<uLong>(lines.size()));
  std::string packed(size, '\0');
  if (compress2(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(lines.data()),
                static_cast<uLong>(lines.size()), Z_DEFAULT_COMPRESSION) != Z_OK)
    throw std::runtime_error("log_image(\"" + tag + "\"): zlib could not compress it");
  packed.resize(size);

  std::string header;
  append_big_endian(header, static_cast<std::uint32_t>(result.width));
  append_big_endian(header, static_cast<std::uint32_t>(result.height));
  header += '\x08';                                                    // bits a channel
  header += channels == 1 ? '\x00' : channels == 3 ? '\x02' : '\x06';  // gray, RGB, RGBA
  header += std::string(3, '\0');
  result.png = "\x89PNG\r\n\x1a\n";
  append_chunk(result.png, "IHDR", header);
  append_chunk(result.png, "IDAT", packed);
  append_chunk(result.png, "IEND", "");
  return result;
}

}  // namespace rtrain::loggers
