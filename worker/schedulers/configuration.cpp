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

std::vector<std::string> problems_of(const Optimizers& configured, bool automatic, std::int64_t accumulate) {
  std::vector<std::string> problems;
  if (automatic && configured.all.size() > 1)
    problems.push_back("there are " + std::to_string(configured.all.size()) +
                       " optimizers, and automatic optimization steps one: call "
                       "set_automatic_optimization(false) in the module's constructor and step optimizer(0), "
                       "optimizer(1), ... in training_step");
  for (std::size_t i = 0; i < configured.all.size(); ++i) {
    if (configured.all[i] == nullptr)
      problems.push_back("optimizer " + std::to_string(i) + " is null");
    else if (automatic && accumulate > 1 && configured.all[i]->needs_closure())
      problems.push_back("optimizer " + std::to_string(i) + " (" + configured.all[i]->type_name() +
                         ") computes the loss of a batch several times a step, which cannot take " +
                         std::to_string(accumulate) + " batches: set accumulate_grad_batches = 1");
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
    if (automatic && config.scheduler->needs_metric() && !config.monitor)
      problems.push_back(name + " follows a metric: name it with .monitor = \"val_loss\"");
    if (config.frequency < 1)
      problems.push_back(name + " has the frequency " + std::to_string(config.frequency) +
                         ", it must be 1 or more");
  }
  return problems;
}

std::vector<std::string> doubts_about(const Optimizers& configured, bool automatic) {
  std::vector<std::string> doubts;
  if (configured.all.empty()) doubts.emplace_back("there is no optimizer: nothing is learned");
  for (std::size_t i = 0; i < configured.schedulers.size(); ++i) {
    const auto& config = configured.schedulers[i];
    if (config.scheduler == nullptr) continue;
    if (!automatic) {  // training_step steps it
      const LRSchedulerConfig usual;
      if (config.monitor || config.interval != usual.interval || config.frequency != usual.frequency ||
          config.strict != usual.strict)
        doubts.push_back(called(configured, i) +
                         " has an interval, a frequency, a monitor or strict, which are not read with "
                         "automatic_optimization = false: training_step steps it");
      continue;
    }
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
