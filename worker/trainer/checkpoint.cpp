// What a checkpoint folder holds, and how it is written.
#include "worker/trainer/checkpoint_parts.h"

#include "worker/checkpoint/module_state.h"
#include "worker/optim/saved_optimizers.h"
#include "worker/runtime/json.h"

#include <rtrain/safetensors.h>

#include <torch/torch.h>

#include <algorithm>
#include <random>
#include <stdexcept>

namespace rtrain {
namespace {

namespace fs = std::filesystem;

using namespace checkpoint_parts;

SafeTensors file_of(const std::map<std::string, torch::Tensor>& tensors, bool of_torch = true) {
  SafeTensors file{tensors, {}};
  if (of_torch) file.metadata.emplace("format", "pt");
  return file;
}

/// Adds this rank's part of a file. @param is_first of the replicas.
void add_file(SaveFiles& files, const std::string& name, const StateTree& tree, int rank, bool is_first) {
  if (is_shared(tree)) {
    if (is_first) files.shared.emplace(name, SharedFile{tree, {{"format", "pt"}}});
    return;
  }
  if (rank == 0) files.tensors.emplace(name, file_of(wholes(tree)));
}

/// The weights: one file, or several with an index. All ranks plan the same.
void add_model(SaveFiles& files, const StateTree& model, std::int64_t max_bytes, int rank, bool is_first) {
  std::vector<std::uint64_t> sizes;
  std::uint64_t total = 0;
  for (const auto& [name, piece] : model) {
    const auto bytes = piece.numel() * static_cast<std::int64_t>(piece.tensor.element_size());
    sizes.push_back(static_cast<std::uint64_t>(bytes));
    total += sizes.back();
  }
  const auto plan = tensors::plan_shards(sizes, static_cast<std::uint64_t>(max_bytes));
  std::vector<StateTree> trees(plan.files);
  std::map<std::string, std::string> weight_map;
  std::size_t number = 0;
  for (const auto& [name, piece] : model) {
    const auto file = plan.file_of[number++];
    trees[file].emplace(name, piece);
    weight_map.emplace(name, plan.name(file));
  }
  for (std::size_t file = 0; file < trees.size(); ++file)
    add_file(files, plan.name(file), trees[file], rank, is_first);
  if (plan.files > 1 && rank == 0) files.texts.emplace(kIndex, tensors::shard_index_text(weight_map, total));
}

/// Adds what the plan remembers, under the name of its strategy.
void put_plan(TrainerCheckpoint& content, const std::string& name, const PlanState& state) {
  if (state.shared.is_null() && state.tensors.empty() && state.own.empty()) return;
  content.loop["strategy"] = {{"name", name}, {"state", state.shared}};
  for (const auto& [key, tensor] : state.tensors) content.tensors.emplace(kPlan + key, tensor);
  for (const auto& [key, tensor] : state.own) content.rank.emplace(kPlan + key, tensor);
}

/// "<metric>.<state>" of the registered metrics that have data of a training epoch. A validation that goes on
/// is done again by a run that resumes: what it has added is left out.
std::map<std::string, torch::Tensor> metric_states(const RunContext& run) {
  std::map<std::string, torch::Tensor> states;
  for (const auto& [name, metric] : run.module->registered_metrics()) {
    const auto before = run.updates_before_validation.find(metric.get());
    const bool is_validations =
        before != run.updates_before_validation.end() && before->second != metric->update_count();
    if (!metric->updated() || is_validations) continue;
    for (const auto& [state, tensor] : metric->state_dict()) states.emplace(name + "." + state, tensor);
  }
  return states;
}

}  // namespace

void Trainer::Impl::require_storable() const {
  const auto writes = [](const auto& callback) { return callback->order() >= CallbackOrder::kCheckpoint; };
  if (std::none_of(run.callbacks.begin(), run.callbacks.end(), writes)) return;
  std::string problems;
  for (const auto& [name, piece] : state_of(*run.module)) {
    if (!is_storable(piece.tensor.scalar_type()))
      problems += "\n  " + name + " is " + c10::toString(piece.tensor.scalar_type());
  }
  if (problems.empty()) return;
  throw std::invalid_argument("fit: checkpoints cannot hold tensors of these types:" + problems +
                              "\nkeep the real view of a complex tensor (torch::view_as_real), or train "
                              "without checkpoints (enable_checkpointing = false)");
}

TrainerCheckpoint Trainer::Impl::capture(bool weights_only) {
  TrainerCheckpoint content;
  content.model = run.plan ? run.plan->module_state() : run.strategy().module_state(*run.module);
  content.loop = {{"format", kLoopFormat},
                  {"version", kVersion},
                  {"epoch", fit_loop.current_epoch()},
                  {"global_step", fit_loop.global_step()},
                  {"world_size", run.placement.world_size},
                  {"writer", writer.json()}};
  if (data_ranks(run.strategy().mesh(), run.placement.world_size) != run.placement.world_size)
    content.loop["ranks"] = arrangement(run);
  if (!run.module->hparams().empty()) content.loop["hyper_parameters"] = run.module->hparams();
  if (!weights_only) {
    const RunContext::HookScope scope(run, Hook::kSaveCheckpoint);
    if (attachment->data != nullptr) {
      if (auto state = attachment->data->state_dict(); !state.is_null())
        content.loop["datamodule"] = {{attachment->data->name(), std::move(state)}};
    }
    for (const auto& callback : run.callbacks) {
      auto state = callback->state_dict();
      if (state.is_null()) continue;
      const auto [at, is_new] = content.callbacks.emplace(callback->state_key(), std::move(state));
      if (!is_new)
        throw std::logic_error("two callbacks keep their state under the key " + at.key() +
                               ": one of them must override state_key()");
    }
    content.loop["progress"] = fit_loop.state();
    content.loop["metrics"] = run.metrics.state();
    content.loop["precision"] = {{"name", run.precision().name()}, {"state", run.precision().state()}};
    if (!run.optimizers.empty()) {
      for (const auto& optimizer : run.optimizers) optimizer->name_parameters(run.module->named_parameters());
      auto saved = save_optimizers(run.optimizers, run.schedulers);
      content.optimizer = std::move(saved.tensors);
      content.loop["optimizers"] = std::move(saved.list);
    }
    content.rank = fit_loop.generators();
    for (const auto& [name, gradient] : fit_loop.pending_gradients())
      content.rank.emplace("gradient." + name, gradient);
    for (const auto& [name, sums] : fit_loop.results().state()) content.rank.emplace("metric." + name, sums);
    if (const auto& place = fit_loop.stream_place(); !place.is_null())
      content.rank.emplace(kStreams, bytes_of(runtime::dump_json(place)));
    for (const auto& [name, tensor] : metric_states(run)) content.rank.emplace(kMetricStates + name, tensor);
    put_plan(content, run.strategy().name(),
             run.plan && run.function == Stage::kFit ? run.plan->step_state() : plan_of_fit);
    for (const auto& callback : run.callbacks)
      callback->on_save_checkpoint(run.trainer, *run.module, content);
  }
  run.call_module(Hook::kSaveCheckpoint, &LightningModule::on_save_checkpoint, content);
  return content;
}

SaveFiles Trainer::Impl::files_of(const TrainerCheckpoint& content, bool weights_only) const {
  SaveFiles files;
  const auto rank = run.placement.global_rank;
  const auto& mesh = run.strategy().mesh();
  const bool is_first = mesh.coordinate(Axis::kReplicate) == 0 && mesh.coordinate(Axis::kContext) == 0;
  add_model(files, content.model, run.options.max_shard_size, rank, is_first);
  if (!weights_only) add_file(files, kOptimizer, content.optimizer, rank, is_first);
  if (!content.tensors.empty()) add_file(files, kExtra, content.tensors, rank, is_first);
  if (rank == 0) {
    auto loop = content.loop;
    loop["callbacks"] = content.callbacks;
    loop["module"] = content.module;
    files.texts.emplace(kLoop, runtime::dump_json_pretty(loop) + "\n");
  }
  if (!weights_only)
    files.tensors.emplace(rank_file(run.placement.global_rank), file_of(content.rank, /*of_torch=*/false));
  return files;
}

void Trainer::Impl::write(const fs::path& path, const TrainerCheckpoint& content, bool weights_only) {
  auto files = files_of(content, weights_only);
  if (io().writes_later()) return write_later(path, std::move(files));
  save_files(io(), path, files,
             {.rank = run.placement.global_rank,
              .world_size = run.placement.world_size,
              .meet = [this](const std::string&) { run.strategy().barrier(); }});
}

void Trainer::save_checkpoint(const fs::path& path, bool weights_only) {
  auto& impl = *impl_;
  auto& run = impl.run;
  if (path.empty()) throw std::invalid_argument("save_checkpoint: the path is empty");
  if (impl.attachment->module == nullptr) {
    throw std::logic_error(
        "save_checkpoint: there is no module; one passed to fit() as a temporary is gone when fit() returns");
  }
  const RunContext::Timed timed(run, [] { return "save_checkpoint"; });
  run.strategy().meet("save_checkpoint()");
  struct Back {
    LightningModule*& module;
    LightningModule* before;
    ~Back() { module = before; }
  } const back{run.module, std::exchange(run.module, impl.attachment->module)};
  impl.write(path, impl.capture(weights_only), weights_only);
  if (!run.running) impl.finish_saves();
}

nlohmann::json CheckpointWriter::json() const { return {{"run", run}, {"attempt", attempt}, {"fit", fit}}; }

CheckpointWriter CheckpointWriter::of(const nlohmann::json& loop) {
  const auto written = loop.value("writer", nlohmann::json::object());
  return {written.value("run", ""), written.value("attempt", std::int64_t{0}), written.value("fit", "")};
}

CheckpointWriter CheckpointWriter::begin() {
  std::random_device draw;
  return {get_context().get_trial_dir().string(), get_context().get_attempt(),
          std::to_string(draw()) + "-" + std::to_string(draw())};
}

}  // namespace rtrain
