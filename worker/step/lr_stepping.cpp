#include "worker/step/lr_stepping.h"

#include <torch/torch.h>

#include <limits>
#include <stdexcept>

namespace rtrain {
namespace {

std::string name_of(const RunContext& run, const LRSchedulerConfig& config) {
  const auto number = static_cast<std::size_t>(&config - run.schedulers.data());
  return "scheduler " + std::to_string(number) + " (" + config.scheduler->type_name() + ")";
}

std::string names_of(const MetricValues& metrics) {
  std::string names;
  for (const auto& [name, value] : metrics) names += (names.empty() ? "" : ", ") + name;
  return names.empty() ? "none" : names;
}

}  // namespace

void LRStepping::step(Interval interval, bool needs_metric, std::int64_t count) {
  if (!run_.automatic) return;
  for (const auto& config : run_.schedulers) {
    if (config.interval != interval || config.scheduler->needs_metric() != needs_metric ||
        count % config.frequency != 0)
      continue;
    if (needs_metric)
      step_by_metric(config);
    else
      run_.call_module(Hook::kLRSchedulerStep, &LightningModule::lr_scheduler_step, *config.scheduler,
                       std::optional<double>());
  }
}

void LRStepping::step_by_metric(const LRSchedulerConfig& config) {
  run_.metrics.refresh();
  const auto& metrics = run_.metrics.views().callback;
  const auto found = metrics.find(*config.monitor);
  // Rank 0's value everywhere: learning rates that differ would train different models.
  auto value =
      torch::tensor({found != metrics.end() ? 1.0 : 0.0, found != metrics.end() ? found->second.item() : 0.0},
                    torch::kFloat64)
          .to(run_.placement.device);
  run_.strategy().mesh().world().broadcast(value);
  value = value.cpu();
  if (value[0].item<double>() == 0) {
    if (config.interval == Interval::kEpoch && !validated_) return;
    const auto text = name_of(run_, config) + " monitors \"" + *config.monitor +
                      "\", which nothing has logged; logged so far: " + names_of(metrics);
    if (config.strict) throw std::runtime_error(text + "; strict = false makes this a warning");
    warn(text + "; it does not step");
    return;
  }
  run_.call_module(Hook::kLRSchedulerStep, &LightningModule::lr_scheduler_step, *config.scheduler,
                   std::optional<double>(value[1].item<double>()));
}

}  // namespace rtrain
