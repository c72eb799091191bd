#include <rtrain/lightning_module.h>

#include "worker/trainer/trainer_impl.h"

#include <torch/torch.h>

#include <functional>
#include <iostream>
#include <stdexcept>

namespace rtrain {
namespace {

[[noreturn]] void not_overridden(const char* step, const char* reason) {
  throw std::logic_error(std::string("the LightningModule does not override ") + step + "(), " + reason);
}

void collect_modes(torch::nn::Module& module, std::vector<std::pair<torch::nn::Module*, bool>>& modes) {
  // parents first: train() of a parent sets its children, too
  modes.emplace_back(&module, module.is_training());
  for (const auto& child : module.children()) collect_modes(*child, modes);
}

/// The module and those below it that are LightningModules, too.
void for_each_lightning_module(LightningModule& root, const std::function<void(LightningModule&)>& body) {
  for (const auto& module : root.modules(/*include_self=*/false))
    if (auto* const below = dynamic_cast<LightningModule*>(module.get())) body(*below);
  body(root);
}

/// Under TrainerOptions::barebones.
bool ignores_log(const RunContext& run) {
  if (!run.options.barebones) return false;
  static const bool warned = (warn("log() does nothing with barebones = true"), true);
  (void)warned;
  return true;
}

}  // namespace

LightningModule::~LightningModule() {
  if (attachment_ && attachment_->module == this) attachment_->module = nullptr;
}

void Attachment::tie(const std::shared_ptr<Attachment>& attachment, LightningModule& module) {
  const auto untie = [](LightningModule& root) {
    const auto from = root.attachment_;
    for_each_lightning_module(root, [&](LightningModule& one) {
      if (one.attachment_ == from) one.attachment_.reset();
    });
  };
  if (attachment->module != nullptr && attachment->module != &module) untie(*attachment->module);
  for_each_lightning_module(module, [&](LightningModule& one) {
    const auto before = std::exchange(one.attachment_, attachment);
    if (before && before != attachment && before->module == &one) before->module = nullptr;
  });
  attachment->module = &module;
}

void Attachment::capture_modes(LightningModule& module) {
  module.modes_.clear();
  collect_modes(module, module.modes_);
}

void LightningModule::restore_modes() {
  for (const auto& [submodule, training] : modes_) {
    if (submodule->is_training() != training) submodule->train(training);
  }
  modes_.clear();
}

StepOutput LightningModule::training_step(const Batch&, std::int64_t) {
  not_overridden("training_step", "which fit() calls for every batch");
}
torch::Tensor LightningModule::validation_step(const Batch&, std::int64_t) {
  not_overridden("validation_step",
                 "but there is a validation loader (limit_val_batches = 0 switches validation off)");
}
torch::Tensor LightningModule::test_step(const Batch&, std::int64_t) {
  not_overridden("test_step", "which test() calls for every batch");
}
Batch LightningModule::on_before_batch_transfer(Batch batch) { return batch; }
Batch LightningModule::transfer_batch_to_device(Batch batch, torch::Device device) {
  return batch.to(device);
}
Batch LightningModule::on_after_batch_transfer(Batch batch) { return batch; }

torch::Tensor LightningModule::predict_step(const Batch&, std::int64_t) {
  not_overridden("predict_step", "which predict() calls for every batch");
}
Optimizers LightningModule::configure_optimizers() {
  not_overridden("configure_optimizers", "which fit() calls for its optimizer");
}

void LightningModule::log(const std::string& name, const torch::Tensor& value, const LogOptions& options) {
  if (!value.defined()) throw std::logic_error("log(\"" + name + "\"): the tensor is undefined");
  if (!attachment_ || attachment_->trainer == nullptr) {
    static const bool warned =
        (warn("log() was called on a module that no Trainer runs: the values go nowhere"), true);
    (void)warned;
    return;
  }
  auto& run = attachment_->trainer->impl_->run;
  if (ignores_log(run)) return;
  run.metrics.log(run.current_hook, name, MetricValue{value}, options);
}

void LightningModule::log(const std::string& name, double value, const LogOptions& options) {
  if (!attachment_ || attachment_->trainer == nullptr) return log(name, torch::scalar_tensor(value), options);
  auto& run = attachment_->trainer->impl_->run;
  if (ignores_log(run)) return;
  run.metrics.log(run.current_hook, name, MetricValue{{}, value}, options);
}

void LightningModule::log_dict(const std::map<std::string, torch::Tensor>& values,
                               const LogOptions& options) {
  for (const auto& [name, value] : values) log(name, value, options);
}

void LightningModule::log_dict(const std::map<std::string, double>& values, const LogOptions& options) {
  for (const auto& [name, value] : values) log(name, value, options);
}

Trainer& LightningModule::trainer() const {
  if (auto* trainer = Attachment::trainer_of(attachment_)) return *trainer;
  throw std::logic_error("the LightningModule is not attached to a Trainer");
}

Mesh& LightningModule::device_mesh() const {
  if (auto* trainer = Attachment::trainer_of(attachment_)) return trainer->strategy().mesh();
  throw std::logic_error(
      "device_mesh(): the LightningModule is not attached to a Trainer, as in its constructor: make layers "
      "that need the ranks in configure_model()");
}

std::int64_t LightningModule::current_epoch() const {
  const auto* trainer = Attachment::trainer_of(attachment_);
  return trainer != nullptr ? trainer->current_epoch() : 0;
}
std::int64_t LightningModule::global_step() const {
  const auto* trainer = Attachment::trainer_of(attachment_);
  return trainer != nullptr ? trainer->global_step() : 0;
}

std::int64_t LightningModule::dataloader_idx() const {
  const auto* trainer = Attachment::trainer_of(attachment_);
  return trainer != nullptr ? trainer->dataloader_idx() : 0;
}

torch::Device LightningModule::device() const {
  if (const auto* trainer = Attachment::trainer_of(attachment_);
      trainer != nullptr && trainer->impl_->run.running)
    return trainer->device();
  for (const auto& parameter : parameters()) return parameter.device();
  for (const auto& buffer : buffers()) return buffer.device();
  return torch::kCPU;
}

int LightningModule::global_rank() const {
  const auto* trainer = Attachment::trainer_of(attachment_);
  return trainer != nullptr ? trainer->global_rank() : 0;
}
int LightningModule::local_rank() const {
  const auto* trainer = Attachment::trainer_of(attachment_);
  return trainer != nullptr ? trainer->local_rank() : 0;
}
const std::vector<std::shared_ptr<Logger>>& LightningModule::loggers() const { return trainer().loggers(); }
void LightningModule::print(const std::string& text) const {
  if (global_rank() == 0) std::cout << text << std::endl;
}
torch::Tensor LightningModule::all_gather(const torch::Tensor& value) const {
  const torch::NoGradGuard no_grad;
  return torch::stack(trainer().strategy().all_gather(value.detach().contiguous()));
}

void LightningModule::on_validation_model_zero_grad() {
  const auto* trainer = Attachment::trainer_of(attachment_);
  if (trainer != nullptr && trainer->impl_->run.plan) trainer->impl_->run.plan->zero_grad(parameters());
}
void LightningModule::on_validation_model_eval() { eval(); }
void LightningModule::on_validation_model_train() { restore_modes(); }
void LightningModule::on_test_model_eval() { eval(); }
void LightningModule::on_test_model_train() { restore_modes(); }
void LightningModule::on_predict_model_eval() { eval(); }

void full_parameters(LightningModule& module, const std::function<void()>& body) {
  auto* trainer = Attachment::trainer_of(module);
  if (trainer == nullptr) return body();
  trainer->strategy().with_full_parameters(module, body);
}

}  // namespace rtrain
