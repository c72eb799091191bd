// Looks for a learning rate before training: Lightning's LearningRateFinder.
#pragma once

#include <rtrain/callback.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// Lightning's arguments and defaults.
struct RTRAIN_API LearningRateFinderOptions {
  double min_lr = 1e-8;                            ///< greater than 0
  double max_lr = 1;                               ///< greater than min_lr
  std::int64_t num_training_steps = 100;           ///< of the optimizer; 1 or more
  std::string mode = "exponential";                ///< or "linear"
  std::optional<double> early_stop_threshold = 4;  ///< stops at a loss so many times the best; none: never
  /// true: the suggestion becomes the learning rate of all groups, and hparams()["lr"] or
  /// hparams()["learning_rate"], if the module has one of them
  bool update_attr = true;
};

/// What a finder has seen.
struct RTRAIN_API LearningRateSweep {
  std::vector<double> lr{};    ///< of each step
  std::vector<double> loss{};  ///< of each step's batches, smoothed with a decay of 0.98
  /// Where the loss falls fastest by the learning rate: the smallest gradient.
  /// @param skip_begin, skip_end points that count for nothing. @return none: fewer than 2 finite points.
  [[nodiscard]] std::optional<double> suggestion(std::int64_t skip_begin = 10,
                                                 std::int64_t skip_end = 1) const;
};

/// In on_fit_start it trains with a learning rate that grows from step to step, and takes back all that this
/// did: weights, buffers, the optimizer, generators. A step takes accumulate_grad_batches batches, and its
/// loss is their mean. Not under fast_dev_run, nor in a fit that resumes. Lightning runs a fit within the
/// fit, with the hooks of its batches, and takes the loss of a step's last batch; here only training_step and
/// the hooks of backward and step are called.
class RTRAIN_API LearningRateFinder : public Callback {
 public:
  /// @throws std::invalid_argument lists what is out of range.
  explicit LearningRateFinder(LearningRateFinderOptions options = {});
  void on_fit_start(Trainer& trainer, LightningModule& module) override;
  [[nodiscard]] CallbackOrder order() const override { return CallbackOrder::kTuner; }
  /// Of the latest fit; empty before.
  [[nodiscard]] const LearningRateSweep& optimal_lr() const { return sweep_; }

 private:
  LearningRateFinderOptions options_;
  LearningRateSweep sweep_;
};

}  // namespace rtrain
