#include "worker/checkpoint/safetensors_input.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace rtrain::files {
namespace {

constexpr std::size_t kReadBytes = 1u << 20;

[[noreturn]] void fail_input(const std::filesystem::path& path, const std::string& why) {
  throw std::runtime_error(path.string() + ": " + why);
}

}  // namespace

SafetensorsHead read_head(CheckpointFile& file, const std::filesystem::path& path) {
  const auto file_size = file.size();
  std::uint64_t header_size = 0;
  if (file_size < sizeof header_size)
    fail_input(path, "too short for a safetensors file (" + std::to_string(file_size) + " bytes)");
  file.read(0, &header_size, sizeof header_size);
  if (header_size > tensors::kSafetensorsHeaderBytesMax)
    fail_input(path, "no safetensors file: it claims a header of " + std::to_string(header_size) +
                         " bytes, over the format's 100,000,000");
  if (header_size > file_size - sizeof header_size) fail_input(path, "the file ends within its header");
  SafetensorsHead head;
  head.bytes.resize(sizeof header_size + header_size);
  std::memcpy(head.bytes.data(), &header_size, sizeof header_size);
  file.read(sizeof header_size, head.bytes.data() + sizeof header_size, header_size);
  try {
    head.header = tensors::parse_safetensors_header(std::string_view(head.bytes).substr(sizeof header_size),
                                                    file_size - head.bytes.size());
  } catch (const std::runtime_error& wrong) {
    fail_input(path, wrong.what());
  }
  return head;
}

void read_summed(CheckpointFile& file, void* into, std::size_t size, std::uint64_t at, Crc32c& crc) {
  auto* next = static_cast<char*>(into);
  while (size > 0) {
    const auto piece = std::min(size, kReadBytes);
    file.read(at, next, piece);
    crc.add({next, piece});
    next += piece;
    at += piece;
    size -= piece;
  }
}

void require_booleans(const torch::Tensor& tensor, const std::string& name,
                      const std::filesystem::path& path) {
  if (tensor.scalar_type() != at::kBool) return;
  const auto* bytes = static_cast<const std::uint8_t*>(tensor.const_data_ptr());
  if (std::any_of(bytes, bytes + tensor.nbytes(), [](std::uint8_t byte) { return byte > 1; }))
    fail_input(path, "tensor \"" + name + "\": a BOOL that is neither 0 nor 1");
}

}  // namespace rtrain::files
