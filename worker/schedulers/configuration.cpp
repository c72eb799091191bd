#include "worker/schedulers/configuration.h"

#include <algorithm>

namespace rtrain::schedulers {
namespace {

std::string called(const Optimizers& configured, std::size_t number) {
  const auto& config = configured.schedulers[number];
  auto text = "scheduler " + std::to_string(number);
  if (config.scheduler != nullptr) text += " (" + config.scheduler->type_name() + ")";
  return config.name.empty() ? text : text + " \"" + config.name + "\"";
}

}  // namespace

std::vector<std::string> problems_of(const Optimizers& configured) {
  std::vector<std::string> problems;
  for (std::size_t i = 0; i < configured.all.size(); ++i) {
    if (configured.all[i] == nullptr) problems.push_back("optimizer " + std::to_string(i) + " is null");
    for (std::size_t j = 0; j < i; ++j)
      if (configured.all[i] != nullptr && configured.all[i] == configured.all[j])
        problems.push_back("optimizer " + std::to_string(i) + " is optimizer " + std::to_string(j) +
                           " again");
  }
  for (std::size_t i = 0; i < configured.schedulers.size(); ++i) {
    const auto& config = configured.schedulers[i];
    const auto name = called(configured, i);
    if (config.scheduler == nullptr) {
      problems.push_back(name + " is null");
      continue;
    }
    const auto* optimizer = &config.scheduler->optimizer();
    if (std::none_of(configured.all.begin(), configured.all.end(),
                     [&](const auto& one) { return one.get() == optimizer; })) {
      problems.push_back(name + " is of an optimizer (" + optimizer->type_name() +
                         ") that configure_optimizers did not return: return that one, too");
    }
    if (config.scheduler->needs_metric() && !config.monitor)
      problems.push_back(name + " follows a metric: name it with .monitor = \"val_loss\"");
    if (config.frequency < 1)
      problems.push_back(name + " has the frequency " + std::to_string(config.frequency) +
                         ", it must be 1 or more");
  }
  return problems;
}

std::vector<std::string> doubts_about(const Optimizers& configured) {
  std::vector<std::string> doubts;
  for (std::size_t i = 0; i < configured.schedulers.size(); ++i) {
    const auto& config = configured.schedulers[i];
    if (config.scheduler == nullptr) continue;
    if (config.scheduler->counts_steps() && config.interval == Interval::kEpoch)
      doubts.push_back(
          called(configured, i) +
          " is made for every optimizer step, and steps once an epoch: set .interval = Interval::kStep");
    if (config.monitor && !config.scheduler->needs_metric())
      doubts.push_back(called(configured, i) + " takes no metric: its monitor \"" + *config.monitor +
                       "\" is not read");
  }
  return doubts;
}

}  // namespace rtrain::schedulers
