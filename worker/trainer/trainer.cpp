#include <rtrain/trainer.h>

#include "worker/trainer/trainer_impl.h"

#include <rtrain/context.h>

#include <stdexcept>

namespace rtrain {

Trainer::Trainer(TrainerOptions options) : impl_(std::make_unique<Impl>(*this, std::move(options))) {}
Trainer::~Trainer() = default;

void AnyModule::hold(std::shared_ptr<LightningModule> module) {
  if (module == nullptr) throw std::invalid_argument("Trainer: the module is a null pointer");
  owned_ = std::move(module);
  module_ = owned_.get();
}

void Trainer::fit(const AnyModule& module, const DataLoader& train, const DataLoader& val,
                  const CheckpointPath& resume_from) {
  impl_->keep(module);
  impl_->fit(module.get(), train, val, resume_from);
}
Metrics Trainer::validate(const AnyModule& module, const DataLoader& loader, const CheckpointPath& weights) {
  impl_->keep(module);
  return impl_->evaluate(Stage::kValidate, module.get(), loader, weights);
}
Metrics Trainer::test(const AnyModule& module, const DataLoader& loader, const CheckpointPath& weights) {
  impl_->keep(module);
  return impl_->evaluate(Stage::kTest, module.get(), loader, weights);
}
std::vector<torch::Tensor> Trainer::predict(const AnyModule& module, const DataLoader& loader,
                                            const CheckpointPath& weights) {
  impl_->keep(module);
  (void)impl_->evaluate(Stage::kPredict, module.get(), loader, weights);
  return impl_->evaluation.take_predictions();
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
std::int64_t Trainer::num_training_batches() const { return impl_->fit_loop.max_batches(); }
std::int64_t Trainer::num_val_batches() const { return impl_->validation.max_batches(); }
std::int64_t Trainer::num_evaluation_batches() const {
  return impl_->run.function == Stage::kFit ? impl_->validation.batches() : impl_->evaluation.batches();
}
bool Trainer::should_stop() const { return impl_->run.should_stop; }
void Trainer::set_should_stop(bool stop) { impl_->run.should_stop = stop; }
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
