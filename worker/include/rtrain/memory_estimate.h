// How much memory a training needs on each rank, before a GPU is taken.
#pragma once

#include <rtrain/data.h>
#include <rtrain/export.h>
#include <rtrain/precision.h>
#include <rtrain/strategies/wrap.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rtrain {

class LightningModule;

struct RTRAIN_API MemoryEstimateOptions {
  std::vector<int> num_ranks{1, 2, 4, 8};          ///< each 1 or more
  WrapPolicy auto_wrap_policy = wrap::children();  ///< of the strategies that shard
  AnyPrecision precision{};                        ///< TrainerOptions::precision
  /// TrainerOptions::accumulate_grad_batches: with more than 1, ZeRO stage 1 keeps whole gradients
  std::int64_t accumulate_grad_batches = 1;
};

/// Bytes on one rank at the peak of a step.
struct RTRAIN_API RankMemory {
  std::string strategy;  ///< a name of TrainerOptions::strategy
  int num_ranks = 1;
  std::int64_t parameters = 0;  ///< and buffers, as far as the rank holds them all the time
  std::int64_t gradients = 0;   ///< with DDP's buckets
  std::int64_t optimizer_state = 0;
  std::int64_t gathered = 0;     ///< units that are whole at a time, and what is on its way between the ranks
  std::int64_t activations = 0;  ///< of the batch of this rank, and the batch
  std::int64_t host = 0;         ///< in the memory of the host, where a strategy offloads
  /// On the device.
  [[nodiscard]] std::int64_t total() const {
    return parameters + gradients + optimizer_state + gathered + activations;
  }
};

struct RTRAIN_API MemoryEstimate {
  std::int64_t parameters = 0;       ///< bytes of all parameters
  std::int64_t buffers = 0;          ///< bytes of all buffers
  std::int64_t gradients = 0;        ///< bytes of the gradients that a step leaves
  std::int64_t optimizer_state = 0;  ///< bytes, after the first step
  std::int64_t activations = 0;      ///< bytes that a batch, its forward and backward hold besides gradients
  std::int64_t largest_unit = 0;     ///< bytes of the parameters of one unit
  std::vector<RankMemory> ranks{};   ///< for each strategy and number of ranks

  /// One line for each strategy and number of ranks, in MiB.
  [[nodiscard]] std::string table() const;
};

/// Trains two steps on this process's CPU with the first batches of `loader`, and counts what LibTorch
/// allocates. Sizes are those of one rank with a batch of the loader: activations grow with the batch, the
/// rest does not. The values of the module are afterwards as before; its hooks have run.
///
/// Parameters, gradients, state and activations are counted. What the strategies make of them is computed:
/// docs/guides/sharding.md has the formulas, and a test holds them against ranks that train. Kernels of a GPU
/// keep other activations than those of the CPU (attention that is fused keeps less), and the allocator, CUDA
/// itself and the libraries need memory besides. With several backwards in a step
/// the activations are those of the first.
///
/// @param module fits into the memory of this host, with gradients and the state of its optimizer.
/// @throws std::invalid_argument a number of ranks below 1, or a loader with fewer than two batches;
///         std::logic_error in a job of several ranks; what the module's steps throw.
/// @thread the training thread, outside of a run.
RTRAIN_API MemoryEstimate estimate_memory(LightningModule& module, const DataLoader& loader,
                                          const MemoryEstimateOptions& options = {});

}  // namespace rtrain
