// The header of a safetensors file, without the tensors: both ways.
#pragma once

#include "proto/tensors/dtype.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::tensors {

inline constexpr std::uint64_t kSafetensorsHeaderBytesMax = 100'000'000;  ///< of the format
inline constexpr const char* kSafetensorsMetadata = "__metadata__";

struct StoredTensor {
  std::string name;
  const Dtype* dtype;                ///< one that the format has
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

/// The first bytes of a file: the header's size and the header, padded so that the data begins at a multiple
/// of 8. Names must be different.
/// @throws std::runtime_error as above: a name that is no UTF-8 or __metadata__, a header that is too large.
[[nodiscard]] std::string safetensors_head(const SafetensorsHeader& header);

}  // namespace rtrain::tensors
