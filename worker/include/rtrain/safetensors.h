// Reads and writes named tensors in the safetensors format, version 0.x (u64 header size, JSON, data):
// https://github.com/huggingface/safetensors
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>

namespace rtrain {

/// The content of one file.
struct RTRAIN_API SafeTensors {
  std::map<std::string, torch::Tensor> tensors{};  ///< on the CPU, contiguous
  std::map<std::string, std::string> metadata{};   ///< "__metadata__"
};

/// True if the format supports this type; it does not support complex numbers.
[[nodiscard]] RTRAIN_API bool is_storable(torch::ScalarType type);
/// Writes the file atomically (temporary file, fsync, rename).
/// @throws std::runtime_error names path and cause (disk full, type not supported).
RTRAIN_API void save_safetensors(const std::filesystem::path& path, const SafeTensors& content);
/// Refuses files that the format forbids: a header over 100 MB, offsets that overlap or are out of range, an
/// unknown type, a wrong length.
/// @throws std::runtime_error names path and fault.
[[nodiscard]] RTRAIN_API SafeTensors load_safetensors(const std::filesystem::path& path);

}  // namespace rtrain
