// Fully sharded data parallel training: Ray's RayFSDPStrategy, Lightning's FSDPStrategy.
#pragma once

#include <rtrain/export.h>
#include <rtrain/strategies/sharded.h>
#include <rtrain/strategies/wrap.h>

#include <torch/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// torch.distributed.fsdp.ShardingStrategy.
enum class ShardingStrategy : std::uint8_t {
  kFullShard,    ///< parameters, gradients and optimizer state; ZeRO stage 3
  kShardGradOp,  ///< gradients and optimizer state; parameters stay whole within a step; ZeRO stage 2
  kHybridShard,  ///< kFullShard within a node, and a replica on each node
  kNoShard,      ///< DDPStrategy
};

/// torch.distributed.fsdp.BackwardPrefetch.
enum class BackwardPrefetch : std::uint8_t {
  kBackwardPre,   ///< gather the next unit while the gradients of this one are computed
  kBackwardPost,  ///< gather it once they are on their way: one unit less in memory
  kNone,
};

/// torch.distributed.fsdp.MixedPrecision. The optimizer steps float32 (or float64) shards in any case.
struct RTRAIN_API ShardedMixedPrecision {
  /// of the parameters that the model reads, and of its floating-point inputs; default: as they are
  std::optional<torch::ScalarType> param_dtype{};
  /// of gradients on their way between the ranks; default: param_dtype
  std::optional<torch::ScalarType> reduce_dtype{};
  std::optional<torch::ScalarType> buffer_dtype{};  ///< of floating-point buffers; default: as they are
};

/// Lightning's and PyTorch's arguments and defaults. Three differ: auto_wrap_policy (PyTorch's default is one
/// unit, which needs the memory of the whole model), sync_module_states (PyTorch's default is false, and the
/// ranks then train different models if they were seeded differently), and broadcast_buffers, which PyTorch's
/// FSDP does not do.
struct RTRAIN_API FSDPOptions {
  ShardingStrategy sharding_strategy = ShardingStrategy::kFullShard;
  WrapPolicy auto_wrap_policy = wrap::children();
  std::optional<ShardedMixedPrecision> mixed_precision{};
  BackwardPrefetch backward_prefetch = BackwardPrefetch::kBackwardPre;
  bool forward_prefetch = false;  ///< gather the next unit while this one computes
  /// Each rank's part of the parameters, its gradient and the optimizer's state are in the memory of the
  /// host, where the optimizer steps; a GPU has what is whole at a time. Without a GPU it changes nothing.
  bool cpu_offload = false;
  /// {replicas, ranks of a shard group}, of kHybridShard; default: one shard group a node. The product is the
  /// world size.
  std::optional<std::array<int, 2>> device_mesh{};
  /// names of modules whose parameters stay whole, as in wrap::names(); their gradients are averaged
  std::vector<std::string> ignored_modules{};
  bool sync_module_states =
      true;  ///< at the start, check shapes and broadcast rank 0's parameters and buffers
  bool broadcast_buffers = true;  ///< broadcast rank 0's buffers before each forward
  /// of collectives; default: torch_config.timeout_s
  std::optional<std::chrono::milliseconds> timeout{};
};

/// Each rank holds an equal part of every parameter, of its gradient and of the optimizer's state; a unit of
/// parameters is whole on every rank only while an operator reads it. The model is not changed and not
/// wrapped: an operator that reads a parameter makes the strategy gather its unit.
///
/// configure_optimizers() gets the parameters with their full shapes and returns what it returns for one
/// device; the optimizer then steps this rank's elements of each. The optimizer must treat each element by
/// itself (Optimizer::is_elementwise()): SGD, Adam and its kin, Adagrad, RMSprop.
///
/// Within a step every rank reads the same parameters in the same order. Outside of one, full_parameters()
/// makes them whole. A gradient is in the optimizer's parameters, not in the module's. After the run the
/// parameters stay sharded as long as the Trainer lives; a checkpoint has them whole.
///
/// With one rank and without mixed_precision it behaves as SingleDeviceStrategy.
class RTRAIN_API FSDPStrategy : public ShardedStrategy {
 public:
  FSDPStrategy() : FSDPStrategy(FSDPOptions{}) {}
  /// @throws std::invalid_argument lists every option that cannot be used.
  explicit FSDPStrategy(FSDPOptions options);
  [[nodiscard]] const FSDPOptions& options() const { return options_; }

  [[nodiscard]] std::string name() const override { return "FSDPStrategy"; }
  /// @throws std::invalid_argument device_mesh does not fit the world; kHybridShard whose nodes differ in
  /// their
  ///         number of ranks.
  [[nodiscard]] ParallelDegrees degrees(int world_size) const override;
  /// @throws std::runtime_error if the ranks' parameters differ; std::invalid_argument a parameter that
  /// cannot
  ///         be sharded.
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;

 private:
  [[nodiscard]] bool shards() override;

  FSDPOptions options_;
};

}  // namespace rtrain
