// What the strategies that shard have in common.
#pragma once

#include "worker/sharding/sharded_module.h"

#include <rtrain/strategies/fsdp.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::sharding {

struct StrategySettings {
  std::string who;  ///< "FSDPStrategy", for messages
  WrapPolicy policy;
  std::vector<std::string> ignored_modules{};
  std::optional<ShardedMixedPrecision> mixed_precision{};
  ShardingOptions sharding{};
  bool sync_module_states = true;
  bool broadcast_buffers = true;
};

/// The module that a strategy has sharded, from one run to the next.
class Prepared {
 public:
  /// The buffers of `module`; its parameters follow in plan(), unit by unit.
  void bring(LightningModule& module, torch::Device device) const;
  /// A plan of `module`, which is sharded at its first run.
  [[nodiscard]] std::unique_ptr<Plan> plan(Strategy& strategy, LightningModule& module,
                                           const StrategySettings& settings);
  void with_full_parameters(const LightningModule& module, const std::function<void()>& body) const;
  [[nodiscard]] StateTree module_state(const LightningModule& module) const;
  void with_module_state(const LightningModule& module,
                         const std::function<void(const StateTree&)>& body) const;
  /// True if `module` is the one that is sharded. By its parameters, which are kept alive: an address may be
  /// another module's by now.
  [[nodiscard]] bool has(const LightningModule& module) const;

 private:
  Mesh mesh_;  ///< with the groups that the sharded module refers to
  std::shared_ptr<ShardedModule> sharded_;
  std::vector<torch::Tensor> whole_;
};

/// No limit: whatever is whole stays so until the optimizer steps.
inline constexpr std::int64_t kAllLive = std::int64_t{1} << 60;

}  // namespace rtrain::sharding
