// ZeRO under DeepSpeed's names: Ray's RayDeepSpeedStrategy, Lightning's DeepSpeedStrategy.
#pragma once

#include <rtrain/export.h>
#include <rtrain/strategies/fsdp.h>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// Lightning's arguments and defaults, as far as they act here. No code of DeepSpeed runs: it is the engine
/// of FSDPStrategy.
struct RTRAIN_API DeepSpeedOptions {
  /// 0: DDPStrategy. 1: the optimizer's state is sharded, and gradients are reduced with the last batch of an
  /// accumulation. 2: and gradients, which are reduced with every batch. 3: and parameters.
  int stage = 2;
  bool offload_optimizer = false;   ///< the optimizer's state and its step are on the host; stages 1 to 3
  bool offload_parameters = false;  ///< and the sharded parameters; stage 3, with offload_optimizer
  WrapPolicy auto_wrap_policy = wrap::children();  ///< which parameters are gathered together
  std::optional<ShardedMixedPrecision> mixed_precision{};
  /// of stage 3: elements that stay whole beside the unit in use
  std::int64_t stage3_max_live_parameters = 1'000'000'000;
  /// of stage 3: 0 gathers no unit ahead of its use
  std::int64_t stage3_prefetch_bucket_size = 50'000'000;
  bool overlap_comm = true;              ///< reduce gradients while backward goes on
  std::chrono::milliseconds timeout{0};  ///< of collectives; 0: torch_config.timeout_s
  /// A DeepSpeed configuration: an object, or the path of a JSON file. It replaces the options above that it
  /// names.
  nlohmann::json config{};
};

/// ZeRO on the engine of FSDPStrategy, whose conditions hold here as well.
///
/// Of a `config`, these keys act: zero_optimization with stage, offload_optimizer.device and
/// offload_param.device ("none" or "cpu"), stage3_max_live_parameters, stage3_prefetch_bucket_size,
/// overlap_comm; communication_data_type. Keys that only tune DeepSpeed's own buffers change no result, and
/// are named in one warning. All others are errors that say what to set instead: batch sizes, precision,
/// optimizer, scheduler and clipping belong to the Trainer and the module, as in Lightning.
class RTRAIN_API DeepSpeedStrategy : public ShardedStrategy {
 public:
  DeepSpeedStrategy() : DeepSpeedStrategy(DeepSpeedOptions{}) {}
  /// @throws std::invalid_argument lists every option, and every key of `config`, that cannot be used.
  explicit DeepSpeedStrategy(DeepSpeedOptions options);
  /// With what `config` sets.
  [[nodiscard]] const DeepSpeedOptions& options() const { return options_; }

  [[nodiscard]] std::string name() const override { return "DeepSpeedStrategy"; }
  [[nodiscard]] ParallelDegrees degrees(int world_size) const override;
  /// @throws as FSDPStrategy::prepare().
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;

 private:
  [[nodiscard]] bool shards() override;

  DeepSpeedOptions options_;
};

}  // namespace rtrain
