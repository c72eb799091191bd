#include <rtrain/trainer.h>

#include "worker/trainer/trainer_impl.h"

#include <rtrain/context.h>

#include <algorithm>
#include <stdexcept>

namespace rtrain {

Trainer::Trainer(TrainerOptions options) : impl_(std::make_unique<Impl>(*this, std::move(options))) {}
Trainer::~Trainer() = default;

void AnyModule::hold(std::shared_ptr<LightningModule> module) {
  if (module == nullptr) throw std::invalid_argument("Trainer: the module is a null pointer");
  owned_ = std::move(module);
  module_ = owned_.get();
}

void Trainer::fit(const AnyModule& module, const DataLoaders& train, const DataLoaders& val,
                  const CheckpointPath& resume_from) {
  impl_->fit(module, {.train = train, .evaluation = val}, resume_from);
}
void Trainer::fit(const AnyModule& module, const AnyDataModule& data, const CheckpointPath& resume_from) {
  impl_->fit(module, {.module = &data}, resume_from);
}
EvaluationMetrics Trainer::validate(const AnyModule& module, const DataLoaders& loaders,
                                    const CheckpointPath& weights, bool verbose) {
  return impl_->evaluate(Stage::kValidate, module, {.evaluation = loaders}, weights, verbose);
}
EvaluationMetrics Trainer::validate(const AnyModule& module, const AnyDataModule& data,
                                    const CheckpointPath& weights, bool verbose) {
  return impl_->evaluate(Stage::kValidate, module, {.module = &data}, weights, verbose);
}
EvaluationMetrics Trainer::validate(const EvaluationArguments& arguments) {
  return impl_->evaluate_last(Stage::kValidate, "validate()", arguments);
}
EvaluationMetrics Trainer::test(const AnyModule& module, const DataLoaders& loaders,
                                const CheckpointPath& weights, bool verbose) {
  return impl_->evaluate(Stage::kTest, module, {.evaluation = loaders}, weights, verbose);
}
EvaluationMetrics Trainer::test(const AnyModule& module, const AnyDataModule& data,
                                const CheckpointPath& weights, bool verbose) {
  return impl_->evaluate(Stage::kTest, module, {.module = &data}, weights, verbose);
}
EvaluationMetrics Trainer::test(const EvaluationArguments& arguments) {
  return impl_->evaluate_last(Stage::kTest, "test()", arguments);
}
Predictions Trainer::predict(const AnyModule& module, const DataLoaders& loaders,
                             const CheckpointPath& weights, const PredictionArguments& arguments) {
  return impl_->predict(module, {.evaluation = loaders}, weights, arguments);
}
Predictions Trainer::predict(const AnyModule& module, const AnyDataModule& data,
                             const CheckpointPath& weights, const PredictionArguments& arguments) {
  return impl_->predict(module, {.module = &data}, weights, arguments);
}

namespace {
Metrics items(const MetricValues& values) {
  Metrics result;
  for (const auto& [name, value] : values) result.emplace(name, value.item());
  return result;
}
}  // namespace

Metrics Trainer::callback_metrics() const {
  return impl_->run.metrics.refresh(), items(impl_->run.metrics.views().callback);
}
Metrics Trainer::logged_metrics() const {
  return impl_->run.metrics.refresh(), items(impl_->run.metrics.views().logged);
}
Metrics Trainer::progress_bar_metrics() const {
  return impl_->run.metrics.refresh(), items(impl_->run.metrics.views().progress_bar);
}
std::int64_t Trainer::current_epoch() const { return impl_->fit_loop.current_epoch(); }
std::int64_t Trainer::global_step() const { return impl_->fit_loop.global_step(); }
std::int64_t Trainer::graphed_steps() const { return impl_->fit_loop.graphed_steps(); }
std::int64_t Trainer::num_training_batches() const { return impl_->fit_loop.max_batches(); }
std::int64_t Trainer::estimated_stepping_batches() {
  if (!fitting()) throw std::logic_error("estimated_stepping_batches() is known within fit()");
  const auto& run = impl_->run;
  const auto max_steps = run.options.max_steps;
  if (run.max_epochs == -1) return max_steps;
  const auto batches = impl_->batches_of_epoch();
  if (batches == kUnknownBatches) return max_steps;
  const auto steps = (batches + run.accumulate - 1) / run.accumulate * run.max_epochs;
  return max_steps == -1 ? steps : std::min(max_steps, steps);
}
std::int64_t Trainer::num_val_batches() const { return impl_->validation.max_batches(); }
std::int64_t Trainer::dataloader_idx() const { return impl_->run.dataloader_idx.value_or(0); }
LightningDataModule* Trainer::datamodule() const { return impl_->attachment->data; }
std::int64_t Trainer::num_evaluation_batches() const {
  return impl_->run.function == Stage::kFit ? impl_->validation.batches() : impl_->evaluation.batches();
}
bool Trainer::should_stop() const { return impl_->run.should_stop; }
void Trainer::set_should_stop(bool stop) {
  impl_->run.should_stop = stop;
  impl_->run.out_of_time = false;
}
void Trainer::stop_for_time() {
  impl_->run.out_of_time = impl_->run.out_of_time || !impl_->run.should_stop;
  impl_->run.should_stop = true;
}
const std::vector<std::shared_ptr<Optimizer>>& Trainer::optimizers() const { return impl_->run.optimizers; }
std::vector<LRSchedulerConfig>& Trainer::lr_scheduler_configs() { return impl_->run.schedulers; }
void Trainer::log_metrics(const Metrics& metrics) {
  impl_->run.metrics.add(metrics, impl_->run.batches_that_stepped);
}
bool Trainer::logs_this_step() const {
  const auto every = impl_->run.options.log_every_n_steps;
  return every > 0 && ((impl_->run.batches_that_stepped + 1) % every == 0 || impl_->run.should_stop);
}
void Trainer::for_each_training_batch(const std::function<void(const Batch&)>& body) {
  if (!fitting() || !impl_->fit_loop.has_data())
    throw std::logic_error("for_each_training_batch: there is training data only while a fit trains");
  impl_->fit_loop.for_each_batch(body);
}
std::vector<std::int64_t> Trainer::prediction_indices(std::int64_t batch_idx) const {
  if (!impl_->run.running || impl_->run.function != Stage::kPredict)
    throw std::logic_error("prediction_indices: no predict() goes on");
  return impl_->evaluation.samples_of(batch_idx);
}
void Trainer::set_accumulate_grad_batches(std::int64_t batches) {
  if (batches < 1)
    throw std::invalid_argument("set_accumulate_grad_batches: " + std::to_string(batches) +
                                ", expected 1 or more");
  if (batches > 1 && fitting() && !impl_->run.automatic)
    throw std::logic_error("set_accumulate_grad_batches: " + std::to_string(batches) +
                           ", but the module optimizes by itself (automatic_optimization = false): "
                           "accumulate in training_step");
  impl_->run.accumulate = batches;
}
Stage Trainer::stage() const { return impl_->run.stage; }
bool Trainer::fitting() const { return impl_->run.running && impl_->run.function == Stage::kFit; }
bool Trainer::is_last_batch() const { return impl_->fit_loop.is_last_batch(); }
bool Trainer::validation_has_run() const { return impl_->validation.has_run(); }
std::int64_t Trainer::max_epochs() const { return impl_->run.max_epochs; }
std::filesystem::path Trainer::resumed_from() const { return impl_->resumed_from; }
int Trainer::global_rank() const { return impl_->run.placement.global_rank; }
int Trainer::local_rank() const { return impl_->run.placement.local_rank; }
int Trainer::world_size() const { return impl_->run.placement.world_size; }
torch::Device Trainer::device() const { return impl_->run.placement.device; }
Strategy& Trainer::strategy() const { return *impl_->run.placement.strategy; }
std::string Trainer::precision() const { return impl_->run.precision().name(); }
CheckpointIO& Trainer::checkpoint_io() const { return impl_->io(); }
Precision& Trainer::precision_plugin() const { return impl_->run.precision(); }
const std::vector<std::shared_ptr<Callback>>& Trainer::callbacks() const { return impl_->run.callbacks; }
const std::vector<std::shared_ptr<Logger>>& Trainer::loggers() const { return impl_->run.loggers; }
Logger* Trainer::logger() const { return loggers().empty() ? nullptr : loggers().front().get(); }
std::filesystem::path Trainer::log_dir() const {
  auto of_logger = logger() == nullptr ? std::filesystem::path() : logger()->log_dir();
  return of_logger.empty() ? default_root_dir() : of_logger;
}
Profiler& Trainer::profiler() const {
  static auto* const none = new Profiler;
  return impl_->profiler ? *impl_->profiler : *none;
}
const TrainerOptions& Trainer::options() const { return impl_->run.options; }

bool Trainer::left_by_earlier_attempt(const std::filesystem::path& path) const {
  return impl_->left_by_earlier_attempt(path);
}

std::filesystem::path Trainer::default_root_dir() const {
  if (!impl_->run.options.default_root_dir.empty()) return impl_->run.options.default_root_dir;
  const auto run_dir = get_context().get_trial_dir();
  return run_dir.empty() ? std::filesystem::current_path() : run_dir;
}

}  // namespace rtrain
