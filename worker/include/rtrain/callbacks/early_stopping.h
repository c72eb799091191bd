// Stops a fit when a monitored metric no longer improves: Lightning's EarlyStopping.
#pragma once

#include <rtrain/callback.h>

#include <cstdint>
#include <optional>
#include <string>

namespace rtrain {

/// Lightning's EarlyStoppingReason, with its numbers.
enum class StoppingReason {
  kNotStopped = 0,
  kStoppingThreshold = 1,    ///< better than stopping_threshold
  kDivergenceThreshold = 2,  ///< worse than divergence_threshold
  kPatienceExhausted = 3,    ///< no improvement in `patience` checks
  kNonFiniteMetric = 4,      ///< NaN or infinite, here or on another rank
};

/// Lightning's arguments and defaults.
struct RTRAIN_API EarlyStoppingOptions {
  std::string monitor{};  ///< name of a metric in callback_metrics; required
  double min_delta = 0;   ///< smaller changes do not count as improvement
  int patience = 3;       ///< checks without improvement before it stops; 0 or more
  bool verbose = false;
  std::string mode = "min";                      ///< or "max"
  bool strict = true;                            ///< treat a missing metric as an error
  bool check_finite = true;                      ///< stop at NaN or infinity
  std::optional<double> stopping_threshold{};    ///< stop once it is better than this
  std::optional<double> divergence_threshold{};  ///< stop once it is worse than this
  /// true: check at the end of the training epoch, false: after each validation; default: true if validation
  /// runs once per epoch
  std::optional<bool> check_on_train_epoch_end{};
  bool log_rank_zero_only = false;  ///< with verbose: false: every rank says it, with its number
  std::string name{};  ///< distinguishes instances with the same monitor and mode; part of state_key()
};

/// Stops the fit when a metric no longer improves. With several ranks, rank 0's value decides on all of them
/// (one warning if the metric differs between ranks: log it with sync_dist). A non-finite value on any rank
/// stops all ranks. It does nothing under fast_dev_run. A checkpoint holds its patience, and a run that
/// resumes goes on with that one; a warning says so where the option differs.
class RTRAIN_API EarlyStopping : public Callback {
 public:
  /// @throws std::invalid_argument lists every problem of the options.
  explicit EarlyStopping(EarlyStoppingOptions options);
  [[nodiscard]] int wait_count() const { return wait_count_; }
  [[nodiscard]] std::int64_t stopped_epoch() const { return stopped_epoch_; }
  [[nodiscard]] double best_score() const { return best_score_; }
  [[nodiscard]] StoppingReason stopping_reason() const { return why_; }
  [[nodiscard]] const std::string& stopping_reason_message() const { return reason_; }  ///< "" until it stops

  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  void on_train_epoch_end(Trainer& trainer, LightningModule& module) override;
  void on_validation_end(Trainer& trainer, LightningModule& module) override;
  [[nodiscard]] nlohmann::json state_dict() const override;
  void load_state_dict(const nlohmann::json& state) override;
  [[nodiscard]] std::string state_key() const override;
  [[nodiscard]] CallbackOrder order() const override { return CallbackOrder::kMonitor; }

 private:
  void check(Trainer& trainer);
  [[nodiscard]] bool should_stop(const Trainer& trainer, double current);
  void say(const Trainer& trainer, const std::string& text) const;
  [[nodiscard]] bool better(double a, double b) const { return options_.mode == "min" ? a < b : a > b; }

  EarlyStoppingOptions options_;
  bool at_train_epoch_end_ = true;
  int wait_count_ = 0;
  std::int64_t stopped_epoch_ = 0;
  double best_score_;
  StoppingReason why_ = StoppingReason::kNotStopped;
  std::string reason_;
  bool warned_of_unsynced_ = false;
};

}  // namespace rtrain
