// The folder that Trainer writes as a checkpoint, as far as more than the Trainer has to know it: `rtrain
// checkpoint` reads it without LibTorch.
#pragma once

#include <cstdint>
#include <string>

namespace rtrain::tensors {

inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";  ///< not beside bare weights
inline constexpr const char* kExtraFile = "extra.safetensors";          ///< only where there are some
inline constexpr const char* kLoopFile = "loop.json";
inline constexpr const char* kLoopFormat = "rtrain-checkpoint";  ///< "format" of loop.json
/// "version" of loop.json; older ones are read.
/// 2: one optimizer, its state under the numbers of parameters, "lr" as a tensor; no optimizers in loop.json
/// 1: and sums of metrics under the number of their hook; no should_stop, metrics and writer in loop.json
inline constexpr std::int64_t kLoopVersion = 3;
inline constexpr const char* kReportedFolder = "checkpoint.ckpt";  ///< where a reported checkpoint has it

/// "rng-rank0.safetensors": what a rank keeps for itself.
[[nodiscard]] inline std::string rank_file(int rank) {
  return "rng-rank" + std::to_string(rank) + ".safetensors";
}

}  // namespace rtrain::tensors
