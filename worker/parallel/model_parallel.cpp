#include <rtrain/strategies/model_parallel.h>

#include "worker/parallel/model_parallel_plan.h"
#include "worker/parallel/pipeline_plan.h"
#include "worker/parallel/stage_cut.h"
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
/// @param cut null: this rank has all layers.
void take_over_whole(Communicator& ranks, const LightningModule& module,
                     const std::vector<SplitParameter>& split, const parallel::StageCut* cut,
                     torch::Device device) {
  if (ranks.is_alone()) return;
  std::set<const void*> seen;
  for (const auto& one : split) seen.insert(one.tensor.unsafeGetTensorImpl());
  std::vector<torch::Tensor> whole;
  for (const auto& parameter : module.parameters()) {
    const bool is_here = cut == nullptr || cut->find(parameter)->is_here;
    if (seen.insert(parameter.unsafeGetTensorImpl()).second && is_here) whole.push_back(parameter.detach());
  }
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
  positive(options_.pipeline_parallel_size, "pipeline_parallel_size");
  positive(options_.data_parallel_size.value_or(1), "data_parallel_size");
  if (!(options_.bucket_cap_mb > 0))
    problems += "\n  bucket_cap_mb is " + std::to_string(options_.bucket_cap_mb) + ", expected more than 0";
  if (options_.timeout && options_.timeout->count() <= 0)
    problems += "\n  timeout is " + std::to_string(options_.timeout->count()) + " ms, expected more than 0";
  if (options_.num_microbatches && *options_.num_microbatches < 1)
    problems +=
        "\n  num_microbatches is " + std::to_string(*options_.num_microbatches) + ", expected 1 or more";
  try {
    const auto kind = parallel::schedule_kind(options_.schedule);
    if (kind == parallel::ScheduleKind::kInterleaved && options_.virtual_stages < 2)
      problems += "\n  virtual_stages is " + std::to_string(options_.virtual_stages) +
                  ", and the schedule \"interleaved\" needs 2 or more";
    else if (kind == parallel::ScheduleKind::kInterleaved && options_.pipeline_parallel_size >= 1 &&
             options_.num_microbatches.value_or(0) % options_.pipeline_parallel_size != 0)
      problems += "\n  num_microbatches is " + std::to_string(*options_.num_microbatches) +
                  ", and the schedule \"interleaved\" needs a multiple of pipeline_parallel_size, " +
                  std::to_string(options_.pipeline_parallel_size);
  } catch (const std::invalid_argument& unknown) {
    problems += std::string("\n  ") + unknown.what();
  }
  if (!problems.empty())
    throw std::invalid_argument("ModelParallelStrategy: these options cannot be used:" + problems);
}

ParallelDegrees ModelParallelStrategy::degrees(int world_size) const {
  const int tensor = options_.tensor_parallel_size, context = options_.context_parallel_size;
  const int pipeline = options_.pipeline_parallel_size;
  const int data = options_.data_parallel_size.value_or(world_size / (pipeline * tensor * context));
  if (data * pipeline * context * tensor == world_size)
    return {.pipeline = pipeline, .replicate = data, .context = context, .tensor = tensor};
  throw std::invalid_argument(
      "ModelParallelStrategy: the job has " + std::to_string(world_size) + " ranks, expected " +
      (options_.data_parallel_size ? std::to_string(data) + " (data_parallel_size) x " : "a multiple of ") +
      (pipeline > 1 ? std::to_string(pipeline) + " (pipeline_parallel_size) x " : "") +
      std::to_string(context) + " (context_parallel_size) x " + std::to_string(tensor) +
      " (tensor_parallel_size)");
}

void ModelParallelStrategy::model_to_device(LightningModule& module) {
  cut_.reset();
  const int ranks = mesh().degrees().pipeline;
  if (ranks == 1) return Strategy::model_to_device(module);
  const bool interleaved = parallel::schedule_kind(options_.schedule) == parallel::ScheduleKind::kInterleaved;
  const parallel::PipelineShape shape{.ranks = ranks,
                                      .stages_a_rank = interleaved ? options_.virtual_stages : 1,
                                      .micro_batches = options_.num_microbatches.value_or(ranks)};
  cut_ = std::make_shared<parallel::StageCut>(name(), module, shape, mesh().coordinate(Axis::kPipeline),
                                              device());
}

void ModelParallelStrategy::teardown(LightningModule& module) {
  if (cut_)
    cut_->to(torch::kCPU);
  else
    Strategy::teardown(module);
}

void ModelParallelStrategy::with_full_parameters(LightningModule& module, const std::function<void()>& body) {
  if (cut_ && cut_->is_of(module))
    cut_->with_whole(mesh().group(Axis::kPipeline), body);
  else
    Strategy::with_full_parameters(module, body);
}

StateTree ModelParallelStrategy::module_state(const LightningModule& module) const {
  return cut_ && cut_->is_of(module) ? cut_->state() : Strategy::module_state(module);
}

std::unique_ptr<Plan> ModelParallelStrategy::prepare(LightningModule& module, bool fitting) {
  // Every rank makes all groups, in one order, whatever its model asks for later.
  auto& replicas = mesh().loss_group();
  auto& parts = mesh().group(Axis::kTensor);
  auto& sequences = mesh().group(Axis::kContext);
  std::vector<Communicator*> groups{&mesh().world(), &replicas, &parts, &sequences};
  if (cut_)
    for (const auto axes : parallel::PipelinePlan::kGroups) groups.push_back(&mesh().group(axes));
  if (options_.timeout)
    for (auto* group : groups) group->set_timeout(*options_.timeout);
  const auto split = parallel::split_parameters_of(module);
  require_equal_modules(name(), module, mesh().world(), device());
  take_over_whole(parts, module, split, cut_.get(), device());
  if (cut_) return prepare_stages(module, fitting);
  replicas_ =
      std::make_shared<DDPStrategy>(DDPOptions{.broadcast_buffers = options_.broadcast_buffers,
                                               .bucket_cap_mb = options_.bucket_cap_mb,
                                               .find_unused_parameters = options_.find_unused_parameters});
  replicas_->connect(mesh(), device());
  return std::make_unique<parallel::ModelParallelPlan>(module, mesh(), device(),
                                                       replicas_->prepare(module, fitting), split);
}

std::unique_ptr<Plan> ModelParallelStrategy::prepare_stages(LightningModule& module, bool fitting) {
  if (fitting && !module.automatic_optimization())
    throw std::invalid_argument(name() +
                                ": a pipeline runs the steps of its micro-batches itself, which manual "
                                "optimization does, too: set automatic_optimization, or "
                                "pipeline_parallel_size = 1");
  return std::make_unique<parallel::PipelinePlan>(
      module, mesh(), device(), cut_, parallel::schedule_kind(options_.schedule),
      parallel::split_parameters_of(module), options_.broadcast_buffers);
}

RTRAIN_REGISTER_OPTIONS(Strategy, "model_parallel", ModelParallelStrategy, ModelParallelOptions,
                        tensor_parallel_size, context_parallel_size, pipeline_parallel_size, num_microbatches,
                        schedule, virtual_stages, broadcast_buffers, bucket_cap_mb, find_unused_parameters);

}  // namespace rtrain
