// Logs the learning rates of a fit: Lightning's LearningRateMonitor.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/optimizers.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// Lightning's arguments and defaults.
struct RTRAIN_API LearningRateMonitorOptions {
  /// kStep: with the step metrics (log_every_n_steps); kEpoch: at the start of each epoch; std::nullopt: each
  /// scheduler where it steps, and optimizers without one at both
  std::optional<Interval> logging_interval{};
  bool log_momentum = false;      ///< also "<name>-momentum": the option momentum or beta1; 0 without either
  bool log_weight_decay = false;  ///< also "<name>-weight_decay"
};

/// Logs the learning rate of each parameter group under Lightning's names: "lr-Adam", "lr-SGD-1" for the
/// second optimizer of a type, "lr-SGD/pg1" with several groups or "lr-SGD/<name of the group>";
/// LRSchedulerConfig::name takes the place of "lr-SGD". The values are those that the coming step uses. They
/// are also in callback_metrics().
class RTRAIN_API LearningRateMonitor : public Callback {
 public:
  explicit LearningRateMonitor(LearningRateMonitorOptions options = {}) : options_(options) {}
  /// What was logged in this fit, by name.
  [[nodiscard]] const std::map<std::string, std::vector<double>>& lrs() const { return lrs_; }

  /// @throws std::invalid_argument the Trainer has no logger; two groups of an optimizer have one name.
  void on_train_start(Trainer& trainer, LightningModule& module) override;
  void on_train_epoch_start(Trainer& trainer, LightningModule& module) override;
  void on_train_batch_start(Trainer& trainer, LightningModule& module, const Batch& batch,
                            std::int64_t batch_idx) override;

 private:
  /// @param where std::nullopt: all.
  void log_rates(Trainer& trainer, std::optional<Interval> where);

  LearningRateMonitorOptions options_;
  std::map<std::string, std::vector<double>> lrs_;
};

}  // namespace rtrain
