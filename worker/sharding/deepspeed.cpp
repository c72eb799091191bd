#include <rtrain/strategies/deepspeed.h>

#include "worker/sharding/deepspeed_config.h"
#include "worker/sharding/prepare.h"

#include <rtrain/names.h>

#include <iostream>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

using sharding::Prefetch;

sharding::StrategySettings settings_of(const DeepSpeedOptions& options) {
  sharding::StrategySettings settings{.who = "DeepSpeedStrategy",
                                      .policy = options.auto_wrap_policy,
                                      .mixed_precision = options.mixed_precision};
  auto& sharding = settings.sharding;
  const bool shards_parameters = options.stage == 3;
  sharding.schedule.live_max = shards_parameters ? options.stage3_max_live_parameters : sharding::kAllLive;
  const bool ahead = !shards_parameters || options.stage3_prefetch_bucket_size > 0;
  sharding.schedule.forward = sharding.schedule.backward = ahead ? Prefetch::kAtUse : Prefetch::kNone;
  sharding.accumulate_in_shards = options.stage >= 2;
  sharding.one_transfer = !options.overlap_comm;
  sharding.on_host = options.offload_optimizer || options.offload_parameters;
  return settings;
}

}  // namespace

DeepSpeedStrategy::DeepSpeedStrategy(DeepSpeedOptions options) : options_(std::move(options)) {
  const auto read = sharding::read_deepspeed_config(options_);
  std::string problems;
  for (const auto& problem : read.problems) problems += "\n  " + problem;
  if (options_.stage < 0 || options_.stage > 3)
    problems += "\n  stage is " + std::to_string(options_.stage) + ", expected 0, 1, 2 or 3";
  if (options_.stage == 0 && (options_.offload_optimizer || options_.offload_parameters))
    problems += "\n  offload_optimizer and offload_parameters need stage 1, 2 or 3";
  if (options_.offload_parameters && options_.stage != 3) problems += "\n  offload_parameters needs stage 3";
  if (options_.offload_parameters && !options_.offload_optimizer)
    problems +=
        "\n  offload_parameters needs offload_optimizer: the optimizer steps the parameters where they are";
  if (!options_.auto_wrap_policy) problems += "\n  auto_wrap_policy is empty";
  if (options_.timeout.count() < 0)
    problems += "\n  timeout is " + std::to_string(options_.timeout.count()) + " ms, expected 0 or more";
  if (!problems.empty())
    throw std::invalid_argument("DeepSpeedStrategy: these options cannot be used:" + problems);
  if (read.idle.empty()) return;
  std::string list;
  for (const auto& key : read.idle) list += (list.empty() ? "" : ", ") + key;
  std::cerr << "rtrain: warning: DeepSpeedStrategy: these keys of config change nothing here: " << list
            << std::endl;
}

ParallelDegrees DeepSpeedStrategy::degrees(int world_size) const {
  return options_.stage == 0 ? ParallelDegrees{.replicate = world_size}
                             : ParallelDegrees{.shard = world_size};
}

bool DeepSpeedStrategy::shards() {
  return options_.stage > 0 &&
         (!mesh().world().is_alone() || options_.mixed_precision || options_.offload_optimizer);
}

std::unique_ptr<Plan> DeepSpeedStrategy::prepare(LightningModule& module, bool fitting) {
  if (options_.timeout.count() > 0) limit_collectives(options_.timeout);
  if (options_.stage == 0) return prepare_replicas({}, module, fitting);
  return prepare_shards(settings_of(options_), module);
}

namespace {

template <int kStage, bool kOffload>
struct DeepSpeedStage final : DeepSpeedStrategy {
  DeepSpeedStage()
      : DeepSpeedStrategy(
            {.stage = kStage, .offload_optimizer = kOffload, .offload_parameters = kOffload && kStage == 3}) {
  }
};
using Stage1 = DeepSpeedStage<1, false>;
using Stage1Offload = DeepSpeedStage<1, true>;
using Stage2 = DeepSpeedStage<2, false>;
using Stage2Offload = DeepSpeedStage<2, true>;
using Stage3 = DeepSpeedStage<3, false>;
using Stage3Offload = DeepSpeedStage<3, true>;

}  // namespace

RTRAIN_REGISTER(Strategy, "deepspeed", DeepSpeedStrategy);
RTRAIN_REGISTER(Strategy, "deepspeed_stage_1", Stage1);
RTRAIN_REGISTER(Strategy, "deepspeed_stage_1_offload", Stage1Offload);
RTRAIN_REGISTER(Strategy, "deepspeed_stage_2", Stage2);
RTRAIN_REGISTER(Strategy, "deepspeed_stage_2_offload", Stage2Offload);
RTRAIN_REGISTER(Strategy, "deepspeed_stage_3", Stage3);
RTRAIN_REGISTER(Strategy, "deepspeed_stage_3_offload", Stage3Offload);

}  // namespace rtrain
