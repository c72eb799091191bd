// Weights in several files with an index, in Hugging Face's layout: model.safetensors.index.json beside
// model-00001-of-00003.safetensors, ...
//
//   {"metadata": {"total_size": 1234}, "weight_map": {"layer.weight": "model-00001-of-00003.safetensors"}}
#pragma once

#include "common/base/result.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::tensors {

inline constexpr const char* kIndexFile = "model.safetensors.index.json";  ///< of a folder with several files
/// Of the tensors in one file: Hugging Face's default, 5 GB.
inline constexpr std::uint64_t kMaxShardSize = 5'000'000'000;

/// The files that such an index names, with what it says of them.
struct ShardIndex {
  std::map<std::string, std::string> weight_map;  ///< tensor -> file beside the index
  [[nodiscard]] std::vector<std::string> files() const;
};
/// kIo, with `path` and the fault; also for a name that leads out of the folder.
[[nodiscard]] Result<ShardIndex> parse_shard_index(std::string_view text, const std::string& path);
/// Why a folder with this index has two sets of weights; "": it has one.
/// @param has_model model.safetensors is there
[[nodiscard]] std::string second_weights(const ShardIndex& index, bool has_model);
[[nodiscard]] Result<ShardIndex> read_shard_index(const std::string& path);

/// How tensors are spread over files.
struct ShardPlan {
  std::vector<std::size_t> file_of;  ///< of each tensor, from 0
  std::size_t files = 0;
  /// "model.safetensors" of the only one, else "model-00002-of-00003.safetensors".
  [[nodiscard]] std::string name(std::size_t file) const;
};
/// True of "model-00001-of-00003.safetensors": it is one of several files.
[[nodiscard]] bool is_shard_name(std::string_view file);
/// In their order, as many as fit into each file. A tensor that is larger than `max_bytes` has one of its
/// own.
/// @param bytes of each tensor
[[nodiscard]] ShardPlan plan_shards(const std::vector<std::uint64_t>& bytes, std::uint64_t max_bytes);

/// @param total_bytes of all tensors
[[nodiscard]] std::string shard_index_text(const std::map<std::string, std::string>& weight_map,
                                           std::uint64_t total_bytes);

/// "5GB", "200MB", "1000KB", "2TB" (powers of 1000) or a number of bytes. kInvalidArgument: neither, or 0.
[[nodiscard]] Result<std::uint64_t> parse_shard_size(std::string_view text);

}  // namespace rtrain::tensors
