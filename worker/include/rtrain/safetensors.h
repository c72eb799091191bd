// Named tensors in a file: https://github.com/huggingface/safetensors (format of version 0.x: u64 header
// size, JSON, data).
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>

namespace rtrain {

struct RTRAIN_API SafeTensors {
  std::map<std::string, torch::Tensor> tensors{};  ///< on the CPU, contiguous
  std::map<std::string, std::string> metadata{};   ///< "__metadata__"
};

/// Whether the format has this type; complex numbers it has not.
[[nodiscard]] RTRAIN_API bool is_storable(torch::ScalarType type);
/// Writes beside and renames (with fsync): the file is whole or absent.
/// @throws std::runtime_error names path and cause (disk full, dtype not representable).
RTRAIN_API void save_safetensors(const std::filesystem::path& path, const SafeTensors& content);
/// Refuses what the format forbids: header over 100 MB, overlapping or outlying offsets, unknown dtype, wrong
/// length.
/// @throws std::runtime_error names path and fault.
[[nodiscard]] RTRAIN_API SafeTensors load_safetensors(const std::filesystem::path& path);

}  // namespace rtrain
