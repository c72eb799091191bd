// The header of a safetensors file, without the tensors: no LibTorch here, so that it can be tested alone.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::checkpoint {

inline constexpr std::uint64_t kSafetensorsHeaderBytesMax = 100'000'000;  ///< of the format
inline constexpr const char* kSafetensorsMetadata = "__metadata__";

struct Dtype {
  std::string_view name;  ///< "F32"
  std::uint64_t bytes;    ///< of an element
};
/// Those that can be read and written, in an order of their own.
[[nodiscard]] std::span<const Dtype> dtypes();
/// Null: unknown.
[[nodiscard]] const Dtype* find_dtype(std::string_view name);

struct StoredTensor {
  std::string name;
  const Dtype* dtype;                ///< one of dtypes()
  std::vector<std::int64_t> shape;   ///< its elements' bytes are end - begin
  std::uint64_t begin = 0, end = 0;  ///< within the data
};

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  ///< by begin; they cover the data, each byte once
  std::map<std::string, std::string> metadata;
};

/// @param data_bytes  what the file has behind its header
/// @throws std::runtime_error says what is wrong, without the file's name.
[[nodiscard]] SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes);

}  // namespace rtrain::checkpoint
