// What a checkpoint folder holds, and how it is written and read back.
#include "worker/trainer/trainer_impl.h"

#include "proto/tensors/shard_index.h"
#include "proto/tensors/trainer_folder.h"
#include "worker/checkpoint/checked_file.h"
#include "worker/checkpoint/module_state.h"
#include "worker/optim/saved_optimizers.h"
#include "worker/run/data_ranks.h"
#include "worker/runtime/json.h"

#include <rtrain/safetensors.h>

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <random>
#include <stdexcept>

namespace rtrain {
namespace {

namespace fs = std::filesystem;

using tensors::kLoopFormat;
using tensors::rank_file;
constexpr auto kVersion = tensors::kLoopVersion;
constexpr auto kModel = tensors::kModelFile;
constexpr auto kIndex = tensors::kIndexFile;
constexpr auto kOptimizer = tensors::kOptimizerFile;
constexpr auto kLoop = tensors::kLoopFile;
constexpr auto kReported = tensors::kReportedFolder;
constexpr auto kExtra = tensors::kExtraFile;

[[noreturn]] void fail(const fs::path& path, const std::string& what) {
  throw std::runtime_error("checkpoint " + path.string() + ": " + what);
}

SafeTensors file_of(const std::map<std::string, torch::Tensor>& tensors, bool of_torch = true) {
  SafeTensors file{tensors, {}};
  if (of_torch) file.metadata.emplace("format", "pt");
  return file;
}

std::map<std::string, torch::Tensor> wholes(const StateTree& tree) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& [key, piece] : tree) tensors.emplace(key, piece.whole());
  return tensors;
}

/// Whether other ranks have the rest. All ranks find the same.
bool is_shared(const StateTree& tree) {
  return std::any_of(tree.begin(), tree.end(), [](const auto& entry) { return entry.second.is_part; });
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

StateTree tree_of(const std::map<std::string, torch::Tensor>& tensors) {
  StateTree tree;
  for (const auto& [name, tensor] : tensors) tree.emplace(name, tensor);
  return tree;
}

template <class Tensors>
Tensors with_prefix(const Tensors& tensors, const std::string& prefix) {
  Tensors result;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) result.emplace(name.substr(prefix.size()), tensor);
  }
  return result;
}

/// How many ranks share what. What a rank keeps for itself is only good for the same arrangement.
nlohmann::json arrangement(const RunContext& run) {
  const auto& mesh = run.strategy().mesh();
  return {{"data", data_ranks(mesh, run.placement.world_size)},
          {"context", mesh.degrees().context},
          {"tensor", mesh.degrees().tensor}};
}

constexpr const char* kMetricStates = "metric_state.";
constexpr const char* kPlan = "strategy.";  ///< tensors of the plan

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

void load_metric_states(const RunContext& run, const std::map<std::string, torch::Tensor>& saved) {
  for (const auto& [name, metric] : run.module->registered_metrics()) {
    const auto own = with_prefix(saved, name + ".");
    if (own.empty()) continue;
    try {
      metric->load_state_dict(own);
    } catch (const std::invalid_argument& error) {
      throw std::runtime_error("fit: the checkpoint's state of the metric \"" + name +
                               "\" does not fit: " + error.what());
    }
  }
}

/// "7.loss", as version 1 had it, is "training_step.loss".
std::string metric_of_version_1(const std::string& key) {
  static constexpr std::array kHooks{Hook::kNone,           Hook::kNone,
                                     Hook::kTrainStart,     Hook::kTrainEpochStart,
                                     Hook::kTrainEpochEnd,  Hook::kTrainBatchStart,
                                     Hook::kTrainBatchEnd,  Hook::kTrainingStep,
                                     Hook::kBeforeZeroGrad, Hook::kBeforeBackward,
                                     Hook::kAfterBackward,  Hook::kBeforeOptimizerStep};
  const auto point = key.find('.');
  std::size_t number = kHooks.size();
  std::from_chars(key.data(), key.data() + std::min(point, key.size()), number);
  return point == std::string::npos || number >= kHooks.size()
             ? key
             : facts_of(kHooks[number]).name + key.substr(point);
}

/// Text among tensors.
constexpr auto kStreams = "streams";
torch::Tensor bytes_of(const std::string& text) {
  auto bytes = torch::empty({static_cast<std::int64_t>(text.size())}, torch::kByte);
  std::memcpy(bytes.mutable_data_ptr(), text.data(), text.size());
  return bytes;
}
std::string text_of(const torch::Tensor& bytes) {
  return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<std::size_t>(bytes.numel())};
}

nlohmann::json read_json(const CheckedFolder& folder, const std::string& file) {
  auto json = runtime::parse_json(folder.text(file));
  if (!json) fail(folder.path() / file, "is not valid JSON: " + json.error().message());
  return std::move(*json);
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

TrainerCheckpoint Trainer::Impl::read(const fs::path& path) {
  const auto rank = run.placement.global_rank;
  auto own = run.plan->module_state();
  auto& mesh = run.strategy().mesh();
  // What the ranks of a tensor group hold is no range of the file in general: they read it whole.
  if (!is_shared(own) || mesh.degrees().tensor > 1) return read_checkpoint(path, rank, io());
  auto& ranks = mesh.group(Axis::kShard);
  const auto exchange = [&](std::optional<Crc32cPieces::State> state) {
    const auto numbers = torch::tensor(
        {static_cast<std::int64_t>(state ? 1 : 0), static_cast<std::int64_t>(state ? state->bytes : 0),
         static_cast<std::int64_t>(state ? state->sum : 0)},
        torch::kInt64);
    std::vector<std::optional<Crc32cPieces::State>> all;
    for (const auto& of_rank : ranks.all_gather(numbers.to(run.placement.device))) {
      const auto sent = of_rank.cpu();
      const auto* at = sent.const_data_ptr<std::int64_t>();
      auto& other = all.emplace_back();
      if (at[0] == 1)
        other = Crc32cPieces::State{static_cast<std::uint64_t>(at[1]), static_cast<std::uint32_t>(at[2])};
    }
    return all;
  };
  const ShardedRead sharded{std::move(own),
                            {.is_first = mesh.coordinate(Axis::kShard) == 0, .exchange = exchange}};
  return read_checkpoint(path, rank, io(), &sharded);
}

TrainerCheckpoint read_checkpoint(const fs::path& given, int rank, CheckpointIO& io,
                                  const ShardedRead* sharded) {
  auto path = given;
  auto files = io.open(path);
  const bool exists = files != nullptr;
  const auto has_model = [&] {
    return files && (files->open(kModel) != nullptr || files->open(kIndex) != nullptr);
  };
  if (!has_model()) {
    path /= kReported;
    files = io.open(path);
  }
  if (!has_model()) {
    fail(given, exists ? "holds neither " + std::string(kModel) + " nor " + kIndex + ", nor has it " +
                             kReported + "/" + kModel
                       : "there is no such folder");
  }
  const CheckedFolder folder(std::move(files), path);
  TrainerCheckpoint content;
  const auto load = [&](const std::string& file, const auto& elements) {
    return sharded == nullptr ? tree_of(folder.load(file))
                              : folder.load_part(file, elements(sharded->own), sharded->readers);
  };
  if (folder.has(kModel)) {
    content.model = load(kModel, elements_of);
  } else {
    const auto index = tensors::parse_shard_index(folder.text(kIndex), (path / kIndex).string());
    if (!index) throw std::runtime_error(index.error().message());
    for (const auto& file : index->files()) content.model.merge(load(file, elements_of));
    for (const auto& [name, file] : index->weight_map)
      if (!content.model.contains(name)) fail(path / kIndex, "weight_map: " + name + " is not in " + file);
  }
  if (!folder.has(kLoop)) return content;  // bare weights
  content.loop = read_json(folder, kLoop);
  if (!content.loop.is_object() || content.loop.value("format", "") != kLoopFormat)
    fail(path / kLoop, "is not rtrain's loop.json");
  if (content.loop.value("version", 0) > kVersion) {
    fail(path / kLoop, "has version " + runtime::dump_json(content.loop["version"]) +
                           ", this rtrain reads up to " + std::to_string(kVersion));
  }
  content.callbacks = content.loop.value("callbacks", nlohmann::json::object());
  content.module = content.loop.value("module", nlohmann::json::object());
  if (folder.has(kOptimizer)) content.optimizer = load(kOptimizer, elements_of_optimizers);
  if (folder.has(kExtra)) content.tensors = tree_of(folder.load(kExtra));
  if (folder.has(rank_file(rank))) content.rank = folder.load(rank_file(rank));
  if (content.loop.value("version", 0) < 2) {
    for (const auto& [key, sums] : with_prefix(content.rank, "metric.")) {
      content.rank.erase("metric." + key);
      content.rank.emplace("metric." + metric_of_version_1(key), sums);
    }
  }
  return content;
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

bool Trainer::Impl::left_by_earlier_attempt(const fs::path& path) {
  if (writer.run.empty()) return false;
  auto files = io().open(path);
  try {
    if (!files || !files->open(kLoop)) return false;
    const auto loop = read_json(CheckedFolder(std::move(files), path), kLoop);
    const auto before = CheckpointWriter::of(loop);
    return writer.retries(before) && before.fit == writer.fit &&
           loop.value("global_step", std::int64_t{0}) > resumed_step;
  } catch (const std::exception&) {
    return false;  // whatever it is, it is not known to be ours
  }
}

void warn_of_misfits(const LoadedWeights& loaded) {
  if (const auto report = loaded.report(); !report.empty())
    warn("the checkpoint does not fit the model in everything, and strict_loading is false:\n" + report);
}

void Trainer::Impl::restore_module_and_callbacks(const TrainerCheckpoint& content) {
  run.call_module(Hook::kLoadCheckpoint, &LightningModule::on_load_checkpoint, content);
  if (run.data != nullptr) {
    const RunContext::HookScope scope(run, Hook::kLoadCheckpoint);
    const auto saved = content.loop.value("datamodule", nlohmann::json::object());
    if (const auto state = saved.find(run.data->name()); state != saved.end())
      run.data->load_state_dict(*state);
  }
  const bool strict = run.module->strict_loading();
  const auto loaded = run.plan ? run.plan->load_module_state(content.model, strict)
                               : load_state(*run.module, content.model, strict);
  warn_of_misfits(loaded);
  if (run.function != Stage::kFit) return;
  for (const auto& item : content.callbacks.items()) {
    const bool present = std::any_of(run.callbacks.begin(), run.callbacks.end(),
                                     [&](const auto& c) { return c->state_key() == item.key(); });
    if (!present)
      warn("the checkpoint holds the state of a callback that this Trainer does not have: " + item.key());
  }
  run.call_callbacks(Hook::kLoadCheckpoint, &Callback::on_load_checkpoint, content);
  const RunContext::HookScope scope(run, Hook::kLoadCheckpoint);
  for (const auto& callback : run.callbacks) {
    const auto found = content.callbacks.find(callback->state_key());
    if (found != content.callbacks.end()) callback->load_state_dict(*found);
  }
}

/// @param saved empty in a checkpoint from before there was a precision.
void Trainer::Impl::restore_precision(const nlohmann::json& saved) {
  const auto name = saved.value("name", run.precision().name());
  if (name != run.precision().name()) {
    warn("fit: the checkpoint's run had precision \"" + name + "\", this one has \"" +
         run.precision().name() + "\": training continues, but not with the same numbers");
    return;
  }
  try {
    run.precision().load_state(saved.value("state", nlohmann::json()));
  } catch (const std::invalid_argument& e) {
    throw std::runtime_error(std::string("fit: the checkpoint's state of the precision cannot be read: ") +
                             e.what());
  }
}

void Trainer::Impl::restore_plan(const TrainerCheckpoint& content, bool same_ranks) {
  const auto saved = content.loop.find("strategy");
  if (saved == content.loop.end()) return;
  const auto name = saved->value("name", std::string());
  if (name != run.strategy().name()) {
    warn("fit: the checkpoint holds the state of " + name + ", and this run has " + run.strategy().name() +
         ": it begins without a state of its own");
    return;
  }
  PlanState state{saved->value("state", nlohmann::json()), wholes(with_prefix(content.tensors, kPlan)), {}};
  if (same_ranks) state.own = with_prefix(content.rank, kPlan);
  try {
    run.plan->load_step_state(state);
  } catch (const std::exception& e) {
    throw std::runtime_error("fit: the checkpoint's state of " + name + " does not fit: " + e.what());
  }
}

void Trainer::Impl::restore_training(const TrainerCheckpoint& content) {
  if (!content.loop.contains("progress")) {
    throw std::runtime_error(
        "fit: the checkpoint holds only weights (save_weights_only), so training cannot go on from it");
  }
  const auto saved_world_size = content.loop.value("world_size", run.placement.world_size);
  const bool retry = writer.retries(CheckpointWriter::of(content.loop));
  const auto saved_ranks = content.loop.value(
      "ranks", nlohmann::json({{"data", saved_world_size}, {"context", 1}, {"tensor", 1}}));
  const bool same_ranks = saved_ranks == arrangement(run);
  fit_loop.load_state(content.loop.at("progress"), saved_ranks.value("data", saved_world_size), retry);
  if (run.should_stop && !retry && !fit_loop.resumes_within_epoch()) {
    warn(
        "fit: the checkpoint's run was stopped (EarlyStopping, or set_should_stop()) and stays "
        "stopped; raise max_epochs or max_steps to continue it");
  }
  try {
    for (const auto& optimizer : run.optimizers) optimizer->name_parameters(run.module->named_parameters());
    load_optimizers(run.optimizers, run.schedulers,
                    {content.optimizer, content.loop.value("optimizers", nlohmann::json::array())},
                    content.loop.value("version", 0));
  } catch (const std::invalid_argument& e) {
    throw std::runtime_error(
        std::string("fit: the checkpoint's optimizer state does not fit this optimizer: ") + e.what());
  }
  restore_precision(content.loop.value("precision", nlohmann::json::object()));
  restore_plan(content, same_ranks);
  if (same_ranks) {
    run.resumed_generators = content.rank;
    const auto unstopped = with_prefix(content.rank, "unstopped.");
    if (fit_loop.resumes_past_stop()) {
      for (const auto& [name, state] : unstopped) run.resumed_generators[name] = state;
    }
    const auto gradients = with_prefix(content.rank, "gradient.");
    if (fit_loop.is_cut())
      fit_loop.keep_cut(unstopped, gradients);
    else
      fit_loop.load_pending_gradients(gradients);
    if (const auto streams = content.rank.find(kStreams);
        streams != content.rank.end() && (fit_loop.resumes_within_epoch() || fit_loop.is_cut())) {
      auto place = runtime::parse_json(text_of(streams->second));
      if (!place)
        throw std::runtime_error("fit: the checkpoint's place in a stream: " + place.error().message());
      fit_loop.load_stream_place(std::move(*place));
    }
    if (fit_loop.resumes_within_epoch() || fit_loop.is_cut()) {
      fit_loop.results().load_state(with_prefix(content.rank, "metric."));
      load_metric_states(run, with_prefix(content.rank, kMetricStates));
    }
  } else if (!run.automatic && !with_prefix(content.rank, "gradient.").empty()) {
    warn("the checkpoint has gradients that no step has used, of " + std::to_string(saved_world_size) +
         " rank(s), now there are " + std::to_string(run.placement.world_size) +
         ": training continues without them, and without the same random numbers");
  } else if (fit_loop.resumes_within_epoch()) {
    warn("the checkpoint was saved within an epoch by " + std::to_string(saved_world_size) +
         " rank(s), now there are " + std::to_string(run.placement.world_size) +
         ": training continues at the same sample, but not with the same random numbers");
  }
}

}  // namespace rtrain
