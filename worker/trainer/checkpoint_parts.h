// What writing, reading and restoring a Trainer's checkpoint share.
#pragma once

#include "proto/tensors/shard_index.h"
#include "proto/tensors/trainer_folder.h"
#include "worker/run/data_ranks.h"
#include "worker/trainer/trainer_impl.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>

namespace rtrain::checkpoint_parts {

using tensors::kLoopFormat;
using tensors::rank_file;
inline constexpr auto kVersion = tensors::kLoopVersion;
inline constexpr auto kModel = tensors::kModelFile;
inline constexpr auto kIndex = tensors::kIndexFile;
inline constexpr auto kOptimizer = tensors::kOptimizerFile;
inline constexpr auto kLoop = tensors::kLoopFile;
inline constexpr auto kReported = tensors::kReportedFolder;
inline constexpr auto kExtra = tensors::kExtraFile;

inline constexpr const char* kMetricStates = "metric_state.";
inline constexpr const char* kPlan = "strategy.";  ///< tensors of the plan

/// Text among tensors.
inline constexpr auto kStreams = "streams";
inline torch::Tensor bytes_of(const std::string& text) {
  auto bytes = torch::empty({static_cast<std::int64_t>(text.size())}, torch::kByte);
  std::memcpy(bytes.mutable_data_ptr(), text.data(), text.size());
  return bytes;
}
inline std::string text_of(const torch::Tensor& bytes) {
  return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<std::size_t>(bytes.numel())};
}

inline std::map<std::string, torch::Tensor> wholes(const StateTree& tree) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& [key, piece] : tree) tensors.emplace(key, piece.whole());
  return tensors;
}

/// Whether other ranks have the rest. All ranks find the same.
inline bool is_shared(const StateTree& tree) {
  return std::any_of(tree.begin(), tree.end(), [](const auto& entry) { return entry.second.is_part; });
}

template <class Tensors>
Tensors with_prefix(const Tensors& tensors, const std::string& prefix) {
  Tensors result;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) result.emplace(name.substr(prefix.size()), tensor);
  }
  return result;
}

/// How many ranks share what. What a rank keeps for itself is only good for the same arrangement.
inline nlohmann::json arrangement(const RunContext& run) {
  const auto& mesh = run.strategy().mesh();
  nlohmann::json degrees = {{"data", data_ranks(mesh, run.placement.world_size)},
                            {"context", mesh.degrees().context},
                            {"tensor", mesh.degrees().tensor}};
  // Files from before there were pipelines are those of none.
  if (mesh.degrees().pipeline > 1) degrees["pipeline"] = mesh.degrees().pipeline;
  return degrees;
}

}  // namespace rtrain::checkpoint_parts
