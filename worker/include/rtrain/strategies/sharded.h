// What strategies that shard a model have in common.
#pragma once

#include <rtrain/export.h>
#include <rtrain/strategies/ddp.h>
#include <rtrain/strategies/strategy.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

namespace rtrain {

namespace sharding {
class Prepared;
struct StrategySettings;
}  // namespace sharding

/// The base of FSDPStrategy and DeepSpeedStrategy: a module is sharded at its first run, stays so from one
/// run to the next, and never leaves its device.
class RTRAIN_API ShardedStrategy : public Strategy {
 public:
  void model_to_device(LightningModule& module) override;
  void teardown(LightningModule& module) override;
  void with_full_parameters(LightningModule& module, const std::function<void()>& body) override;
  [[nodiscard]] StateTree module_state(const LightningModule& module) const override;
  void with_module_state(LightningModule& module, const std::function<void(const StateTree&)>& body) override;

 protected:
  ShardedStrategy();
  /// True if a run on the mesh of now shards; false: ranks are replicas, or one rank has nothing to shard
  /// for.
  [[nodiscard]] virtual bool shards() = 0;

  /// Of the job's collectives; nullopt or alone: as they are.
  void limit_collectives(std::optional<std::chrono::milliseconds> timeout);
  /// For prepare(): the plan of DDPStrategy.
  [[nodiscard]] std::unique_ptr<Plan> prepare_replicas(const DDPOptions& options, LightningModule& module,
                                                       bool fitting);
  /// For prepare(): a plan over shards if shards().
  [[nodiscard]] std::unique_ptr<Plan> prepare_shards(const sharding::StrategySettings& settings,
                                                     LightningModule& module);

 private:
  std::shared_ptr<sharding::Prepared> prepared_;  ///< the module that is sharded, from one run to the next
  std::shared_ptr<DDPStrategy> replicas_;
};

}  // namespace rtrain
