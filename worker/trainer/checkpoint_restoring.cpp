// What a run takes over from a checkpoint that was read.
#include "worker/trainer/checkpoint_parts.h"

#include "worker/checkpoint/module_state.h"
#include "worker/optim/saved_optimizers.h"
#include "worker/runtime/json.h"

#include <torch/torch.h>

#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

using namespace checkpoint_parts;

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

}  // namespace

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
