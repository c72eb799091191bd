// Tensor and context parallelism: Lightning's ModelParallelStrategy.
#pragma once

#include <rtrain/export.h>
#include <rtrain/strategies/ddp.h>
#include <rtrain/strategies/strategy.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace rtrain {

/// How many ranks share what. The product of the three sizes is the number of ranks of the job. Neighbouring
/// ranks, which share a node, are of one tensor-parallel group.
struct RTRAIN_API ModelParallelOptions {
  /// Groups of ranks that read different data. Default: as many as the job has ranks for.
  std::optional<int> data_parallel_size{};
  int tensor_parallel_size = 1;   ///< ranks that each hold a part of the parallel layers' matrices; 1 or more
  int context_parallel_size = 1;  ///< ranks that each hold a part of every sequence; 1 or more
  bool broadcast_buffers = true;  ///< as DDPOptions, over the ranks that hold the same parameters
  double bucket_cap_mb = 25;      ///< as DDPOptions
  bool find_unused_parameters = false;  ///< as DDPOptions
  /// of collectives; default: torch_config.timeout_s
  std::optional<std::chrono::milliseconds> timeout{};
};

/// Trains a model of parallel layers (rtrain/parallel.h), which the module makes in configure_model() with
/// the groups of its device_mesh(). Ranks of one tensor or context group read the same batches. Gradients are
/// averaged over the ranks that read different data or different parts of the sequences; the norm for
/// clipping is that of the whole model. Checkpoints hold whole tensors, and any sizes go on from them.
///
/// At the start the ranks take over the parameters and buffers of the first rank that holds the same ones,
/// and the ranks of a tensor group the states of the random generators of their first rank, so that they drop
/// out the same elements.
class RTRAIN_API ModelParallelStrategy : public Strategy {
 public:
  ModelParallelStrategy() = default;
  /// @throws std::invalid_argument lists what is out of range.
  explicit ModelParallelStrategy(ModelParallelOptions options);
  [[nodiscard]] const ModelParallelOptions& options() const { return options_; }

  [[nodiscard]] std::string name() const override { return "ModelParallelStrategy"; }
  /// @throws std::invalid_argument the sizes are not those of `world_size` ranks (names all numbers).
  [[nodiscard]] ParallelDegrees degrees(int world_size) const override;
  /// @throws std::runtime_error the ranks' models differ.
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;

 private:
  ModelParallelOptions options_;
  std::shared_ptr<DDPStrategy> replicas_;
};

}  // namespace rtrain
