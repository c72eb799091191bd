#include <rtrain/strategies/fsdp.h>

#include "worker/sharding/prepare.h"

#include <rtrain/context.h>
#include <rtrain/names.h>

#include <torch/torch.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

using sharding::Prefetch;

Prefetch prefetch_of(BackwardPrefetch wanted) {
  switch (wanted) {
    case BackwardPrefetch::kBackwardPre: return Prefetch::kAtUse;
    case BackwardPrefetch::kBackwardPost: return Prefetch::kAfterReduce;
    case BackwardPrefetch::kNone: break;
  }
  return Prefetch::kNone;
}

sharding::StrategySettings settings_of(const FSDPOptions& options) {
  sharding::StrategySettings settings{.who = "FSDPStrategy",
                                      .policy = options.auto_wrap_policy,
                                      .ignored_modules = options.ignored_modules,
                                      .mixed_precision = options.mixed_precision,
                                      .sync_module_states = options.sync_module_states,
                                      .broadcast_buffers = options.broadcast_buffers};
  auto& sharding = settings.sharding;
  sharding.schedule.live_max =
      options.sharding_strategy == ShardingStrategy::kShardGradOp ? sharding::kAllLive : 0;
  sharding.schedule.forward = options.forward_prefetch ? Prefetch::kAtUse : Prefetch::kNone;
  sharding.schedule.backward = prefetch_of(options.backward_prefetch);
  sharding.on_host = options.cpu_offload;
  // Without prefetching memory counts: nothing is in flight beside what is computed.
  sharding.one_transfer = options.backward_prefetch == BackwardPrefetch::kNone;
  if (sharding.one_transfer) sharding.kept_buffers = 0;
  return settings;
}

}  // namespace

FSDPStrategy::FSDPStrategy(FSDPOptions options) : options_(std::move(options)) {
  std::string problems;
  if (!options_.auto_wrap_policy)
    problems += "\n  auto_wrap_policy is empty; wrap::none() makes the whole model one unit";
  if (options_.timeout && options_.timeout->count() <= 0)
    problems += "\n  timeout is " + std::to_string(options_.timeout->count()) + " ms, expected more than 0";
  if (options_.device_mesh && options_.sharding_strategy != ShardingStrategy::kHybridShard)
    problems += "\n  device_mesh is for sharding_strategy = kHybridShard";
  if (options_.device_mesh && ((*options_.device_mesh)[0] < 1 || (*options_.device_mesh)[1] < 1))
    problems += "\n  device_mesh holds a number below 1";
  const auto check = [&](const std::optional<torch::ScalarType>& type, const char* name) {
    if (type && !at::isFloatingType(*type))
      problems += std::string("\n  mixed_precision.") + name + " is " + c10::toString(*type) +
                  ", expected a floating-point type";
  };
  if (options_.mixed_precision) {
    check(options_.mixed_precision->param_dtype, "param_dtype");
    check(options_.mixed_precision->reduce_dtype, "reduce_dtype");
    check(options_.mixed_precision->buffer_dtype, "buffer_dtype");
  }
  if (!problems.empty())
    throw std::invalid_argument("FSDPStrategy: these options cannot be used:" + problems);
}

ParallelDegrees FSDPStrategy::degrees(int world_size) const {
  switch (options_.sharding_strategy) {
    case ShardingStrategy::kFullShard:
    case ShardingStrategy::kShardGradOp: return {.shard = world_size};
    case ShardingStrategy::kNoShard: return {.replicate = world_size};
    case ShardingStrategy::kHybridShard: break;
  }
  const auto [replicas, ranks] =
      options_.device_mesh.value_or(std::array{world_size / std::max(1, get_context().get_local_world_size()),
                                               std::max(1, get_context().get_local_world_size())});
  if (replicas * ranks != world_size)
    throw std::invalid_argument("FSDPStrategy: " + std::to_string(replicas) + " replicas of " +
                                std::to_string(ranks) + " ranks (" +
                                (options_.device_mesh ? "device_mesh" : "ranks of this node") +
                                ") are not the job's " + std::to_string(world_size) + " ranks");
  return {.replicate = replicas, .shard = ranks};
}

bool FSDPStrategy::shards() {
  return options_.sharding_strategy != ShardingStrategy::kNoShard &&
         (!mesh().world().is_alone() || options_.mixed_precision || options_.cpu_offload);
}

std::unique_ptr<Plan> FSDPStrategy::prepare(LightningModule& module, bool fitting) {
  limit_collectives(options_.timeout);
  if (options_.sharding_strategy == ShardingStrategy::kNoShard)
    return prepare_replicas({.broadcast_buffers = options_.broadcast_buffers,
                             .init_sync = options_.sync_module_states,
                             .timeout = options_.timeout},
                            module, fitting);
  return prepare_shards(settings_of(options_), module);
}

namespace {

struct FSDPWithOffload final : FSDPStrategy {
  FSDPWithOffload() : FSDPStrategy({.cpu_offload = true}) {}
};

}  // namespace

RTRAIN_REGISTER(Strategy, "fsdp", FSDPStrategy);
RTRAIN_REGISTER(Strategy, "fsdp_cpu_offload", FSDPWithOffload);

}  // namespace rtrain
