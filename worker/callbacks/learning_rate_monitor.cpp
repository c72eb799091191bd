#include <rtrain/callbacks/learning_rate_monitor.h>

#include "worker/run/warn.h"

#include <rtrain/trainer.h>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace rtrain {
namespace {

/// An optimizer and the names of its groups.
struct NamedOptimizer {
  Optimizer* optimizer = nullptr;
  std::optional<Interval> interval{};  ///< of its scheduler; std::nullopt: it has none
  std::vector<std::string> names{};
};

std::vector<std::string> names_of_groups(const Optimizer& optimizer, const std::string& name) {
  const auto groups = optimizer.groups();
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const bool alone = groups.size() == 1;
    const auto own = !groups[g].name.empty() ? groups[g].name : alone ? "" : "pg" + std::to_string(g + 1);
    if (!taken.insert(own).second)
      throw std::invalid_argument("LearningRateMonitor: two parameter groups of " + name + " are called \"" +
                                  own + "\": give them different names");
    names.push_back(own.empty() ? name : name + "/" + own);
  }
  return names;
}

std::vector<NamedOptimizer> named_optimizers(Trainer& trainer) {
  std::vector<NamedOptimizer> all;
  std::map<std::string, int> seen;  // of each type, without those that have a name of their own
  const auto add = [&](Optimizer& optimizer, const std::string& given, std::optional<Interval> interval) {
    auto name = given.empty() ? "lr-" + optimizer.type_name() : given;
    if (given.empty()) ++seen[optimizer.type_name()];
    if (const auto count = seen[optimizer.type_name()]; count > 1) name += "-" + std::to_string(count - 1);
    all.push_back({&optimizer, interval, names_of_groups(optimizer, name)});
  };
  for (const auto& config : trainer.lr_scheduler_configs())
    add(config.scheduler->optimizer(), config.name, config.interval);
  for (const auto& optimizer : trainer.optimizers()) {
    const bool is_named = std::any_of(all.begin(), all.end(),
                                      [&](const auto& other) { return other.optimizer == optimizer.get(); });
    if (!is_named) add(*optimizer, "", std::nullopt);
  }
  return all;
}

std::optional<double> option_of(const ParamGroup& group, const std::string& name) {
  const auto found = group.options.find(name);
  return found == group.options.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace

void LearningRateMonitor::on_train_start(Trainer& trainer, LightningModule&) {
  if (trainer.options().loggers.empty() && trainer.options().fast_dev_run == 0)
    throw std::invalid_argument(
        "LearningRateMonitor: the Trainer has no logger to write to; set TrainerOptions::loggers");
  lrs_.clear();
  for (const auto& named : named_optimizers(trainer)) {
    for (const auto& group : named.optimizer->groups()) {
      if (options_.log_momentum && !option_of(group, "beta1") && !option_of(group, "momentum"))
        return warn("LearningRateMonitor: log_momentum is true, but " + named.optimizer->type_name() +
                    " has no momentum: 0 is logged");
    }
  }
}

void LearningRateMonitor::on_train_epoch_start(Trainer& trainer, LightningModule&) {
  if (options_.logging_interval == Interval::kStep) return;
  log_rates(trainer, options_.logging_interval ? std::nullopt : std::optional(Interval::kEpoch));
}

void LearningRateMonitor::on_train_batch_start(Trainer& trainer, LightningModule&, const Batch&,
                                               std::int64_t) {
  if (options_.logging_interval == Interval::kEpoch || !trainer.logs_this_step()) return;
  log_rates(trainer, options_.logging_interval ? std::nullopt : std::optional(Interval::kStep));
}

void LearningRateMonitor::log_rates(Trainer& trainer, std::optional<Interval> where) {
  Metrics row;
  for (const auto& named : named_optimizers(trainer)) {
    if (where && named.interval && named.interval != where) continue;
    const auto groups = named.optimizer->groups();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const auto& name = named.names[g];
      const auto lr = named.optimizer->lr(static_cast<int>(g));
      row[name] = lr;
      lrs_[name].push_back(lr);
      const auto beta = option_of(groups[g], "beta1");
      if (options_.log_momentum)
        row[name + "-momentum"] = beta ? *beta : option_of(groups[g], "momentum").value_or(0);
      if (options_.log_weight_decay)
        row[name + "-weight_decay"] = option_of(groups[g], "weight_decay").value_or(0);
    }
  }
  if (!row.empty()) trainer.log_metrics(row);
}

RTRAIN_REGISTER_OPTIONS(Callback, "LearningRateMonitor", LearningRateMonitor, LearningRateMonitorOptions,
                        log_momentum, log_weight_decay);

}  // namespace rtrain
