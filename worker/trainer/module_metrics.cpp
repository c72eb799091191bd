// Metrics that a LightningModule keeps, and which of its parameters train.
#include <rtrain/lightning_module.h>

#include "worker/trainer/trainer_impl.h"

#include <algorithm>
#include <stdexcept>

namespace rtrain {

void LightningModule::keep_metric(const std::string& name, std::shared_ptr<Metric> metric) {
  const auto refuse = [&](const std::string& why) {
    throw std::invalid_argument("register_metric(\"" + name + "\"): the name " + why);
  };
  if (name.empty()) refuse("is empty");
  if (name.find('.') != std::string::npos) refuse("has a dot, which parts the names of modules");
  if (std::any_of(metrics_.begin(), metrics_.end(), [&](const auto& own) { return own.first == name; }))
    refuse("is taken");
  metrics_.emplace_back(name, std::move(metric));
}

std::vector<std::pair<std::string, std::shared_ptr<Metric>>> LightningModule::registered_metrics() const {
  auto all = metrics_;
  for (const auto& item : named_modules(/*name_prefix=*/"", /*include_self=*/false)) {
    const auto* const below = dynamic_cast<const LightningModule*>(item.value().get());
    if (below == nullptr) continue;
    for (const auto& [name, metric] : below->metrics_) all.emplace_back(item.key() + "." + name, metric);
  }
  return all;
}

void LightningModule::log(const std::string& name, Metric& metric, const LogOptions& options) {
  if (!attachment_ || attachment_->trainer == nullptr) return;  // its values go nowhere, as those of others
  auto& run = attachment_->trainer->impl_->run;
  if (run.options.barebones) return;
  const auto all = run.module->registered_metrics();
  if (std::none_of(all.begin(), all.end(), [&](const auto& own) { return own.second.get() == &metric; }))
    throw std::logic_error("log(\"" + name + "\"): the metric " + metric.name() +
                           " is not registered with the module: make it by register_metric(\"" +
                           (name.empty() ? "metric" : name) + "\", ...), or log its value");
  run.metrics.log(run.current_hook, name, metric, options);
}

namespace {

void set_training(torch::nn::Module& part, bool on) {
  for (auto& parameter : part.parameters()) parameter.set_requires_grad(on);
  part.train(on);
}

}  // namespace

void LightningModule::freeze(torch::nn::Module& part) { set_training(part, false); }
void LightningModule::unfreeze(torch::nn::Module& part) { set_training(part, true); }

}  // namespace rtrain
