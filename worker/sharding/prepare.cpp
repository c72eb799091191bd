#include "worker/sharding/prepare.h"

#include "worker/checkpoint/module_state.h"
#include "worker/sharding/sharded_plan.h"
#include "worker/sharding/wrap.h"
#include "worker/strategies/module_agreement.h"

#include <torch/torch.h>

#include <algorithm>
#include <utility>

namespace rtrain::sharding {
namespace {

void convert_buffers(const torch::nn::Module& module, torch::ScalarType type) {
  for (auto buffer : module.buffers())
    if (buffer.is_floating_point() && buffer.scalar_type() != type) buffer.set_data(buffer.to(type));
}

void move_to(torch::Device device, const std::vector<torch::Tensor>& tensors) {
  for (auto tensor : tensors) tensor.set_data(tensor.to(device));
}

}  // namespace

void Prepared::bring(LightningModule& module, torch::Device device) const {
  move_to(device, module.buffers());
}

bool Prepared::has(const LightningModule& module) const {
  if (sharded_ == nullptr) return false;
  const auto parameters = module.parameters();
  return std::all_of(parameters.begin(), parameters.end(), [&](const torch::Tensor& parameter) {
    return sharded_->find(parameter) ||
           std::any_of(whole_.begin(), whole_.end(),
                       [&](const torch::Tensor& one) { return one.is_same(parameter); });
  });
}

std::unique_ptr<Plan> Prepared::plan(Strategy& strategy, LightningModule& module,
                                     const StrategySettings& settings) {
  auto& mesh = strategy.mesh();
  auto& world = mesh.world();
  const auto device = strategy.device();
  const auto& types = settings.mixed_precision;
  if (!has(module)) {
    auto cut = sharding::cut(module, settings.policy, settings.ignored_modules);
    move_to(device, cut.whole);
    if (settings.sync_module_states && !world.is_alone()) {
      require_equal_modules(settings.who, module, world, device);
      world.broadcast_all(cut.whole);  // the other parameters follow unit by unit
      take_over_buffers(module.buffers(), world);
    }
    if (types && types->buffer_dtype) convert_buffers(module, *types->buffer_dtype);
    auto options = settings.sharding;
    if (settings.sync_module_states && !world.is_alone()) options.source = &world;
    if (types) {
      options.compute_type = types->param_dtype;
      options.reduce_type = types->reduce_dtype;
    }
    auto& shards = mesh.group(Axis::kShard);
    auto& replicas = mesh.group(Axis::kReplicate);
    sharded_.reset();
    mesh_ = mesh;
    sharded_ = std::make_shared<ShardedModule>(settings.who, cut.units, shards, replicas, device, options);
    whole_ = std::move(cut.whole);
  }
  return std::make_unique<ShardedPlan>(
      settings.who, module, mesh, device, sharded_, whole_,
      PlanOptions{.broadcast_buffers = settings.broadcast_buffers && !world.is_alone(),
                  .input_type = types ? types->param_dtype : std::nullopt});
}

void Prepared::with_full_parameters(const LightningModule& module, const std::function<void()>& body) const {
  if (!has(module)) return body();
  sharded_->with_whole(body);
}

StateTree Prepared::module_state(const LightningModule& module) const {
  return !has(module) ? state_of(module) : sharded_->state_of(module);
}

void Prepared::with_module_state(const LightningModule& module,
                                 const std::function<void(const StateTree&)>& body) const {
  if (!has(module)) return body(state_of(module));
  sharded_->with_pieces([&] { body(sharded_->state_of(module)); });
}

}  // namespace rtrain::sharding
