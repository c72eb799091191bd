// Headers of safetensors files: 8 bytes that say how much data follows, and the header. A text that has
// "rtrain-checksums" is the checksums.json beside such files.
#include "tests/fuzz/fuzz.h"

#include "proto/tensors/checksums.h"
#include "proto/tensors/safetensors_header.h"

#include <cstring>
#include <filesystem>
#include <stdexcept>

using namespace rtrain;
using fuzz::require;

namespace {

void check_list(std::string_view text) {
  const auto list = tensors::parse_checksums(text);
  if (!list) return require(list.error().message().size() < 4096, "an error is short");
  for (const auto& [file, checksum] : list->files)
    require((std::filesystem::path("/folder") / file).lexically_normal().string().starts_with("/folder"),
            "a file lies in the folder");
  const auto again = tensors::parse_checksums(tensors::checksums_text(*list));
  require(again && again->files == list->files, "a list reads back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  if (text.find("rtrain-checksums") != text.npos) {
    check_list(text);
    return 0;
  }
  // The number of bytes is taken from the text, so that a mutation of it can fit.
  const auto at = text.rfind("data_offsets");
  std::uint64_t bytes = 0;
  for (const char c : text.substr(at == text.npos                   ? 0
                                  : text.find(',', at) == text.npos ? 0
                                                                    : text.find(',', at) + 1,
                                  20)) {
    if (c < '0' || c > '9') break;
    bytes = bytes * 10 + static_cast<std::uint64_t>(c - '0');
  }
  try {
    const auto header = tensors::parse_safetensors_header(text, bytes);
    std::uint64_t covered = 0;
    for (const auto& tensor : header.tensors) {
      require(tensor.begin == covered && tensor.end >= tensor.begin, "each byte once");
      std::uint64_t elements = 1;
      for (const auto n : tensor.shape) {
        require(n >= 0, "a size is not negative");
        elements *= static_cast<std::uint64_t>(n);
      }
      require(elements * tensor.dtype->bytes == tensor.end - tensor.begin, "the shape fits the bytes");
      covered = tensor.end;
    }
    require(covered == bytes, "all bytes are covered");
  } catch (const std::runtime_error& error) {
    require(std::strlen(error.what()) < 4096, "an error is short");
  }
  return 0;
}
