#include <rtrain/strategies/model_parallel.h>

#include "worker/parallel/model_parallel_plan.h"
#include "worker/strategies/module_agreement.h"

#include <rtrain/generators.h>
#include <rtrain/names.h>

#include <torch/torch.h>

#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {
namespace {

using parallel::SplitParameter;

/// What each rank of a tensor group has whole, and the numbers that it will draw, are the same on all.
void take_over_whole(Communicator& ranks, const LightningModule& module,
                     const std::vector<SplitParameter>& split, torch::Device device) {
  if (ranks.is_alone()) return;
  std::set<const void*> seen;
  for (const auto& one : split) seen.insert(one.tensor.unsafeGetTensorImpl());
  std::vector<torch::Tensor> whole;
  for (const auto& parameter : module.parameters())
    if (seen.insert(parameter.unsafeGetTensorImpl()).second) whole.push_back(parameter.detach());
  for (const auto& buffer : module.buffers()) whole.push_back(buffer.detach());
  ranks.broadcast_all(whole);
  auto states = generator_states();
  for (auto& [name, state] : states) {
    const auto there = state.to(device);
    ranks.broadcast(there);
    state = there.to(torch::kCPU);
  }
  set_generator_states(states);
}

}  // namespace

ModelParallelStrategy::ModelParallelStrategy(ModelParallelOptions options) : options_(std::move(options)) {
  std::string problems;
  const auto positive = [&](int size, const char* name) {
    if (size < 1)
      problems += std::string("\n  ") + name + " is " + std::to_string(size) + ", expected 1 or more";
  };
  positive(options_.tensor_parallel_size, "tensor_parallel_size");
  positive(options_.context_parallel_size, "context_parallel_size");
  positive(options_.data_parallel_size.value_or(1), "data_parallel_size");
  if (!(options_.bucket_cap_mb > 0))
    problems += "\n  bucket_cap_mb is " + std::to_string(options_.bucket_cap_mb) + ", expected more than 0";
  if (options_.timeout && options_.timeout->count() <= 0)
    problems += "\n  timeout is " + std::to_string(options_.timeout->count()) + " ms, expected more than 0";
  if (!problems.empty())
    throw std::invalid_argument("ModelParallelStrategy: these options cannot be used:" + problems);
}

ParallelDegrees ModelParallelStrategy::degrees(int world_size) const {
  const int tensor = options_.tensor_parallel_size, context = options_.context_parallel_size;
  const int data = options_.data_parallel_size.value_or(world_size / (tensor * context));
  if (data * context * tensor == world_size) return {.replicate = data, .context = context, .tensor = tensor};
  throw std::invalid_argument(
      "ModelParallelStrategy: the job has " + std::to_string(world_size) + " ranks, expected " +
      (options_.data_parallel_size ? std::to_string(data) + " (data_parallel_size) x " : "a multiple of ") +
      std::to_string(context) + " (context_parallel_size) x " + std::to_string(tensor) +
      " (tensor_parallel_size)");
}

std::unique_ptr<Plan> ModelParallelStrategy::prepare(LightningModule& module, bool fitting) {
  // Every rank makes all groups, in one order, whatever its model asks for later.
  auto& replicas = mesh().loss_group();
  auto& parts = mesh().group(Axis::kTensor);
  auto& sequences = mesh().group(Axis::kContext);
  if (options_.timeout)
    for (auto* group : {&mesh().world(), &replicas, &parts, &sequences})
      group->set_timeout(*options_.timeout);
  const auto split = parallel::split_parameters_of(module);
  require_equal_modules(name(), module, mesh().world(), device());
  take_over_whole(parts, module, split, device());
  replicas_ =
      std::make_shared<DDPStrategy>(DDPOptions{.broadcast_buffers = options_.broadcast_buffers,
                                               .bucket_cap_mb = options_.bucket_cap_mb,
                                               .find_unused_parameters = options_.find_unused_parameters});
  replicas_->connect(mesh(), device());
  return std::make_unique<parallel::ModelParallelPlan>(module, mesh(), device(),
                                                       replicas_->prepare(module, fitting), split);
}

RTRAIN_REGISTER_OPTIONS(Strategy, "model_parallel", ModelParallelStrategy, ModelParallelOptions,
                        tensor_parallel_size, context_parallel_size, broadcast_buffers, bucket_cap_mb,
                        find_unused_parameters);

}  // namespace rtrain
