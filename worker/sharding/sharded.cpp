#include <rtrain/strategies/sharded.h>

#include "worker/sharding/prepare.h"

namespace rtrain {

ShardedStrategy::ShardedStrategy() : prepared_(std::make_shared<sharding::Prepared>()) {}

void ShardedStrategy::limit_collectives(std::optional<std::chrono::milliseconds> timeout) {
  if (auto& world = mesh().world(); timeout && !world.is_alone()) world.set_timeout(*timeout);
}

std::unique_ptr<Plan> ShardedStrategy::prepare_replicas(const DDPOptions& options, LightningModule& module,
                                                        bool fitting) {
  replicas_ = std::make_shared<DDPStrategy>(options);
  replicas_->connect(mesh(), device());
  return replicas_->prepare(module, fitting);
}

std::unique_ptr<Plan> ShardedStrategy::prepare_shards(const sharding::StrategySettings& settings,
                                                      LightningModule& module) {
  if (!shards()) return std::make_unique<Plan>(module, mesh(), device());
  return prepared_->plan(*this, module, settings);
}

void ShardedStrategy::model_to_device(LightningModule& module) {
  shards() ? prepared_->bring(module, device()) : Strategy::model_to_device(module);
}

void ShardedStrategy::teardown(LightningModule& module) {
  if (!prepared_->has(module)) Strategy::teardown(module);
}

void ShardedStrategy::with_full_parameters(LightningModule& module, const std::function<void()>& body) {
  prepared_->with_full_parameters(module, body);
}

StateTree ShardedStrategy::module_state(const LightningModule& module) const {
  return prepared_->module_state(module);
}

void ShardedStrategy::with_module_state(LightningModule& module,
                                        const std::function<void(const StateTree&)>& body) {
  prepared_->with_module_state(module, body);
}

}  // namespace rtrain
