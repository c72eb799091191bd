#pragma once

#include <rtrain/callback.h>

#include <cstdint>
#include <optional>
#include <string>

namespace rtrain {

/// Lightning's arguments and defaults.
struct RTRAIN_API EarlyStoppingOptions {
  std::string monitor{};  ///< of callback_metrics
  double min_delta = 0;   ///< smaller changes are no improvement
  int patience = 3;       ///< checks without improvement before it stops
  bool verbose = false;
  std::string mode = "min";                      ///< or "max"
  bool strict = true;                            ///< a metric that is missing is an error
  bool check_finite = true;                      ///< stop at NaN or infinity
  std::optional<double> stopping_threshold{};    ///< stop once it is better than this
  std::optional<double> divergence_threshold{};  ///< stop once it is worse than this
  /// left out: when validation runs once an epoch, else after each validation
  std::optional<bool> check_on_train_epoch_end{};
  std::string name{};  ///< tells two with one monitor and mode apart; part of state_key()
};

/// Stops the fit when a metric no longer improves. With several ranks rank 0's value counts on all of them
/// (one warning when the metric differs: log it with sync_dist); a value that is not finite stops all ranks,
/// whichever rank has it.
class RTRAIN_API EarlyStopping : public Callback {
 public:
  /// @throws std::invalid_argument every problem of the options at once.
  explicit EarlyStopping(EarlyStoppingOptions options);
  [[nodiscard]] int wait_count() const { return wait_count_; }
  [[nodiscard]] std::int64_t stopped_epoch() const { return stopped_epoch_; }
  [[nodiscard]] double best_score() const { return best_score_; }
  [[nodiscard]] const std::string& stopping_reason() const { return reason_; }  ///< "" until it stops

  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  void on_train_epoch_end(Trainer& trainer, LightningModule& module) override;
  void on_validation_end(Trainer& trainer, LightningModule& module) override;
  [[nodiscard]] nlohmann::json state_dict() const override;
  void load_state_dict(const nlohmann::json& state) override;
  [[nodiscard]] std::string state_key() const override;
  [[nodiscard]] CallbackOrder order() const override { return CallbackOrder::kMonitor; }

 private:
  void check(Trainer& trainer);
  [[nodiscard]] bool should_stop(double current);
  [[nodiscard]] bool better(double a, double b) const { return options_.mode == "min" ? a < b : a > b; }

  EarlyStoppingOptions options_;
  bool at_train_epoch_end_ = true;
  int wait_count_ = 0;
  std::int64_t stopped_epoch_ = 0;
  double best_score_;
  std::string reason_;
  bool warned_of_unsynced_ = false;
};

}  // namespace rtrain
