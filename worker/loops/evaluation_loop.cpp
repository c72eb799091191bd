#include "worker/loops/evaluation_loop.h"

#include "worker/loops/same_batch.h"
#include "worker/run/attachment.h"
#include "worker/run/generator_states.h"

#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

namespace rtrain {
namespace {

using OfCallback = void (Callback::*)(Trainer&, LightningModule&);
using OfModule = void (LightningModule::*)();
using BatchOfCallback = void (Callback::*)(Trainer&, LightningModule&, const Batch&, std::int64_t);
using BatchOfModule = void (LightningModule::*)(const Batch&, std::int64_t);
using OutputOfCallback = void (Callback::*)(Trainer&, LightningModule&, const torch::Tensor&, const Batch&,
                                            std::int64_t);
using OutputOfModule = void (LightningModule::*)(const torch::Tensor&, const Batch&, std::int64_t);

/// The hooks of one kind of evaluation.
struct StageHooks {
  OfModule model_eval, model_train;  // model_train null: the modes come back without a hook
  Hook at_model_eval, at_model_train, at_start, at_epoch_start, at_batch_start, at_step, at_batch_end,
      at_epoch_end, at_end;
  OfCallback start, epoch_start, epoch_end, end;
  OfModule module_start, module_epoch_start, module_epoch_end, module_end;
  BatchOfCallback batch_start;
  BatchOfModule module_batch_start;
  torch::Tensor (LightningModule::*step)(const Batch&, std::int64_t);
  OutputOfCallback batch_end;
  OutputOfModule module_batch_end;
};

using C = Callback;
using M = LightningModule;
// clang-format off
constexpr StageHooks kValidation{
    &M::on_validation_model_eval, &M::on_validation_model_train,
    Hook::kValidationModelEval, Hook::kValidationModelTrain, Hook::kValidationStart, Hook::kValidationEpochStart,
    Hook::kValidationBatchStart, Hook::kValidationStep, Hook::kValidationBatchEnd, Hook::kValidationEpochEnd,
    Hook::kValidationEnd,
    &C::on_validation_start, &C::on_validation_epoch_start, &C::on_validation_epoch_end, &C::on_validation_end,
    &M::on_validation_start, &M::on_validation_epoch_start, &M::on_validation_epoch_end, &M::on_validation_end,
    &C::on_validation_batch_start, &M::on_validation_batch_start, &M::validation_step,
    &C::on_validation_batch_end, &M::on_validation_batch_end};
constexpr StageHooks kTesting{
    &M::on_test_model_eval, &M::on_test_model_train,
    Hook::kTestModelEval, Hook::kTestModelTrain, Hook::kTestStart, Hook::kTestEpochStart,
    Hook::kTestBatchStart, Hook::kTestStep, Hook::kTestBatchEnd, Hook::kTestEpochEnd,
    Hook::kTestEnd,
    &C::on_test_start, &C::on_test_epoch_start, &C::on_test_epoch_end, &C::on_test_end,
    &M::on_test_start, &M::on_test_epoch_start, &M::on_test_epoch_end, &M::on_test_end,
    &C::on_test_batch_start, &M::on_test_batch_start, &M::test_step,
    &C::on_test_batch_end, &M::on_test_batch_end};
constexpr StageHooks kPrediction{
    &M::on_predict_model_eval, nullptr,
    Hook::kPredictModelEval, Hook::kNone, Hook::kPredictStart, Hook::kPredictEpochStart,
    Hook::kPredictBatchStart, Hook::kPredictStep, Hook::kPredictBatchEnd, Hook::kPredictEpochEnd,
    Hook::kPredictEnd,
    &C::on_predict_start, &C::on_predict_epoch_start, &C::on_predict_epoch_end, &C::on_predict_end,
    &M::on_predict_start, &M::on_predict_epoch_start, &M::on_predict_epoch_end, &M::on_predict_end,
    &C::on_predict_batch_start, &M::on_predict_batch_start, &M::predict_step,
    &C::on_predict_batch_end, &M::on_predict_batch_end};
// clang-format on

/// As in RankProgress.
const char* name_of(Stage stage) {
  switch (stage) {
    case Stage::kSanityCheck: return "sanity";
    case Stage::kTest: return "test";
    case Stage::kPredict: return "predict";
    default: return "validate";
  }
}

const StageHooks& hooks_of(Stage stage) {
  switch (stage) {
    case Stage::kTest: return kTesting;
    case Stage::kPredict: return kPrediction;
    default: return kValidation;
  }
}

}  // namespace

void EvaluationLoop::set_data(MakeData make) {
  make_ = std::move(make);
  reads_ = nullptr;
  loaders_.clear();
  results_.clear();
  max_batches_ = 0;
  has_run_ = is_ending_ = false;
  predictions_ = {};
  load();
}

void EvaluationLoop::load() {
  if (!make_) return;
  auto data = make_();
  loaded_in_epoch_ = run_.epochs.current.completed;
  same_everywhere_ = data.same_everywhere;
  loaders_.resize(data.sources.size());
  max_batches_ = 0;
  for (std::size_t i = 0; i < data.sources.size(); ++i) {
    const auto batches = data.sources[i].size();
    max_batches_ =
        std::max(max_batches_, batches) == kUnknownBatches ? kUnknownBatches : max_batches_ + batches;
    loaders_[i].batches = std::move(data.sources[i]);
  }
}

MetricValues EvaluationLoop::evaluate(Stage stage, std::int64_t limit) {
  const RunContext::EqualParameters equal(run_);
  const auto every = run_.options.reload_dataloaders_every_n_epochs;
  if (stage == Stage::kValidate && run_.function == Stage::kFit && every > 0 &&
      run_.epochs.current.completed - loaded_in_epoch_ >= every)
    load();
  const auto taken_of = [limit](const Loader& loader) {
    return limit < 0 ? loader.batches.size() : std::min(limit, loader.batches.size());
  };
  by_loader_.clear();
  if (stage == Stage::kPredict) predictions_.by_loader.assign(loaders_.size(), {});
  if (std::all_of(loaders_.begin(), loaders_.end(), [&](const Loader& l) { return taken_of(l) == 0; }))
    return {};
  // Tensors of inference mode may not meet autograd again: not inside a fit, where a module may keep some.
  std::optional<c10::InferenceMode> inference;
  if (run_.function != Stage::kFit && run_.options.inference_mode) inference.emplace();
  const torch::NoGradGuard no_grad;

  const auto& hooks = hooks_of(stage);
  const auto stage_before = std::exchange(run_.stage, stage);
  run_.metrics.use(&results_);
  if (stage == Stage::kValidate && run_.function == Stage::kFit) {
    generators_before_ = generator_states(run_.placement.device);
    for (const auto& [name, metric] : run_.module->registered_metrics())
      run_.updates_before_validation[metric.get()] = metric->update_count();
  }

  Attachment::capture_modes(*run_.module);
  run_.call_module(hooks.at_model_eval, hooks.model_eval);
  run_.call(hooks.at_start, hooks.start, hooks.module_start);
  run_.call(hooks.at_epoch_start, hooks.epoch_start, hooks.module_epoch_start);
  const bool several = loaders_.size() > 1;
  MetricValues logged;
  by_loader_.assign(loaders_.size(), {});
  std::int64_t done = 0;
  for (std::size_t i = 0; i < loaders_.size(); ++i) {
    batches_ = taken_of(loaders_[i]);
    if (several) {
      run_.dataloader_idx = static_cast<std::int64_t>(i);
      results_.at_loader(run_.dataloader_idx);
    }
    if (batches_ > 0) done += read(loaders_[i], stage, done);
    run_.metrics.epoch_end_reached();
    if (several) {
      by_loader_[i] = run_.metrics.epoch_metrics();
      logged.insert(by_loader_[i].begin(), by_loader_[i].end());
    }
  }
  has_run_ = has_run_ || stage != Stage::kSanityCheck;

  run_.dataloader_idx.reset();
  results_.at_loader(std::nullopt);
  run_.call(hooks.at_epoch_end, hooks.epoch_end, hooks.module_epoch_end);
  run_.metrics.refresh();
  const auto at_end = run_.metrics.epoch_metrics();
  logged.insert(at_end.begin(), at_end.end());
  for (auto& own : by_loader_) own.insert(at_end.begin(), at_end.end());
  if (stage != Stage::kSanityCheck)
    run_.metrics.to_loggers(logged, run_.batches_that_stepped, run_.epochs.current.completed);
  is_ending_ = true;
  run_.call(hooks.at_end, hooks.end, hooks.module_end);
  is_ending_ = false;
  run_.metrics.reset_results();
  if (hooks.model_train != nullptr) {
    run_.call_module(hooks.at_model_train, hooks.model_train);
  } else {
    Attachment::restore_modes(*run_.module);
  }
  run_.metrics.use(nullptr);
  run_.updates_before_validation.clear();
  run_.stage = stage_before;
  return logged;
}

const std::vector<std::int64_t>& EvaluationLoop::samples_of(std::int64_t batch_idx) {
  if (reads_ == nullptr) throw std::logic_error("no loader is read");
  if (samples_.empty()) samples_ = reads_->samples();
  if (batch_idx < 0 || batch_idx >= static_cast<std::int64_t>(samples_.size()))
    throw std::out_of_range("there is no batch " + std::to_string(batch_idx));
  return samples_[static_cast<std::size_t>(batch_idx)];
}

void EvaluationLoop::keep_prediction(const torch::Tensor& output) {
  const auto loader = static_cast<std::size_t>(run_.dataloader_idx.value_or(0));
  predictions_.push_back(output.defined() && !predicts_.keep_on_device ? output.cpu() : output);
  predictions_.by_loader[loader].push_back(predictions_.back());
}

/// @param done batches of the loaders before it. @return those of this one.
std::int64_t EvaluationLoop::read(Loader& loader, Stage stage, std::int64_t done) {
  const auto& hooks = hooks_of(stage);
  reads_ = &loader.batches;
  samples_.clear();
  // Some want an order of validation that follows the training epoch.
  auto iterator = loader.batches.epoch(run_.function == Stage::kFit ? run_.epochs.current.processed : 0);
  feed_.begin();
  std::int64_t batch_idx = 0;
  for (; batch_idx < batches_; ++batch_idx) {
    if (same_everywhere_) run_.yield_if(run_.yield_point.next_part());
    run_.batch_idx = batch_idx;
    auto fetched = [&] {
      const RunContext::HookScope scope(run_, Hook::kNextBatch);
      return feed_.take(iterator);
    }();
    if (!everyone_has(static_cast<bool>(fetched))) break;
    const auto batch = feed_.to_device(std::move(fetched));
    if (batch_idx == 0)
      require_same_batch(run_.strategy(), batch, std::string(name_of(stage)) + ": the first batch");
    run_.metrics.on_batch_start(batch.empty() ? 1 : batch.size());
    run_.call(hooks.at_batch_start, hooks.batch_start, hooks.module_batch_start, batch, batch_idx);
    run_.plan->before_forward(/*sync=*/false);
    if (batch_idx + 1 < batches_) feed_.look_ahead(iterator);
    auto* stages = stages_of(*run_.plan);
    const torch::Tensor output = stages != nullptr
                                     ? staged_.evaluate(*stages, hooks.at_step, hooks.step, batch, batch_idx)
                                     : run_.call_step(hooks.at_step, hooks.step, batch, batch_idx);
    run_.plan->after_batch();
    run_.metrics.step_done();
    run_.pulse.step(name_of(stage), run_.epochs.current.completed, done + batch_idx + 1);
    run_.call(hooks.at_batch_end, hooks.batch_end, hooks.module_batch_end, output, batch, batch_idx);
    run_.metrics.on_batch_end();
    if (stage != Stage::kSanityCheck) run_.metrics.evaluation_step_to_loggers(loader.seen++);
    if (stage == Stage::kPredict && predicts_.return_predictions) keep_prediction(output);
  }
  feed_.end();
  if (batch_idx == batches_) (void)everyone_has(false);  // others may have more
  return batch_idx;
}

/// Whether the evaluation has a batch for every rank, where none can make a forward alone.
bool EvaluationLoop::everyone_has(bool mine) {
  if (same_everywhere_ || !run_.plan->is_forward_collective()) return mine;
  const bool all = run_.strategy().reduce_boolean_decision(mine);
  if (mine && !all && !std::exchange(warned_of_end_, true))
    warn(std::string(name_of(run_.stage)) + ": the ranks have different numbers of batches, and " +
         run_.strategy().name() +
         " needs every rank in each: this rank leaves out what it has left. Give each rank as many batches "
         "(DistributedSampler does)");
  return all;
}

}  // namespace rtrain
