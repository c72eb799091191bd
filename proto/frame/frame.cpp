#include "proto/frame/frame.h"

namespace rtrain::proto {
namespace {

constexpr std::string_view kMagic = "RTR1";

std::uint32_t read_u32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  return value;
}

void write_u32(char* out, std::size_t value) {
  for (int i = 3; i >= 0; --i, value >>= 8) out[i] = static_cast<char>(value & 0xff);
}

Error too_long(std::string_view part, std::uint32_t bytes, std::size_t limit) {
  return fail(Errc::kLimit, "a frame with a " + std::string(part) + " of " + std::to_string(bytes) +
                                " bytes was refused; at most " + std::to_string(limit) +
                                " are accepted here");
}

}  // namespace

Result<FrameHeader> decode_frame_header(std::string_view bytes12, const FrameLimits& limits) {
  if (bytes12.size() < kFrameHeaderBytes)
    return fail(Errc::kProtocol, "a frame header is shorter than 12 bytes");
  if (bytes12.substr(0, 4) != kMagic)
    return fail(Errc::kProtocol, "not a frame of the rtrain cluster protocol",
                "the user API (HTTP) listens on another port");
  const FrameHeader header{read_u32(bytes12.substr(4, 4)), read_u32(bytes12.substr(8, 4))};
  if (header.json_bytes > limits.json_bytes_max)
    return too_long("JSON text", header.json_bytes, limits.json_bytes_max);
  if (header.body_bytes > limits.body_bytes_max)
    return too_long("body", header.body_bytes, limits.body_bytes_max);
  return header;
}

std::array<char, kFrameHeaderBytes> encode_frame_header(const Frame& frame) {
  std::array<char, kFrameHeaderBytes> header;
  kMagic.copy(header.data(), kMagic.size());
  write_u32(header.data() + 4, frame.json.size());
  write_u32(header.data() + 8, frame.body.size());
  return header;
}

std::string encode_frame(const Frame& frame) {
  const auto header = encode_frame_header(frame);
  std::string bytes;
  bytes.reserve(header.size() + frame.json.size() + frame.body.size());
  bytes.append(header.data(), header.size()).append(frame.json).append(frame.body);
  return bytes;
}

}  // namespace rtrain::proto
