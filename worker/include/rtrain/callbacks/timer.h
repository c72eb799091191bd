// Ends a fit after a length of time: Lightning's Timer.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/duration.h>

#include <array>
#include <chrono>
#include <optional>

namespace rtrain {

/// Lightning's arguments and defaults.
struct RTRAIN_API TimerOptions {
  Interval interval = Interval::kStep;  ///< where it looks: after each batch, or after each epoch
  bool verbose = true;                  ///< says on rank 0 that it ends the fit
};

/// Measures the time spent in training, validation and test, and ends the fit once training took `duration`.
/// min_epochs and min_steps come first. The time of all attempts counts: it is in checkpoints. With several
/// ranks, rank 0's clock decides. TrainerOptions::max_time adds one.
class RTRAIN_API Timer : public Callback {
 public:
  /// Measures only.
  Timer() = default;
  explicit Timer(Duration duration, TimerOptions options = {});

  /// Seconds, so far. @param stage kTrain, kValidate or kTest; 0 before it has begun.
  [[nodiscard]] double time_elapsed(Stage stage = Stage::kTrain) const;
  /// Seconds of training left, 0 or less once it is over; std::nullopt without a duration.
  [[nodiscard]] std::optional<double> time_remaining() const;

  [[nodiscard]] CallbackRole role() const override { return CallbackRole::kTimeLimit; }
  void on_fit_start(Trainer& trainer, LightningModule& module) override;
  void on_train_start(Trainer& trainer, LightningModule& module) override;
  void on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput& output,
                          const Batch& batch, std::int64_t batch_idx) override;
  void on_train_epoch_end(Trainer& trainer, LightningModule& module) override;
  void on_train_end(Trainer& trainer, LightningModule& module) override;
  void on_validation_start(Trainer& trainer, LightningModule& module) override;
  void on_validation_end(Trainer& trainer, LightningModule& module) override;
  void on_test_start(Trainer& trainer, LightningModule& module) override;
  void on_test_end(Trainer& trainer, LightningModule& module) override;
  void teardown(Trainer& trainer, LightningModule& module, Stage stage) override;
  [[nodiscard]] nlohmann::json state_dict() const override;
  void load_state_dict(const nlohmann::json& state) override;

 private:
  /// One stage: what was measured before, and since when it is measured now.
  struct Watch {
    double before_s = 0;
    std::optional<std::chrono::steady_clock::time_point> since{};
    void start();
    void stop();
    [[nodiscard]] double seconds() const;
  };
  void end_when_over(Trainer& trainer);

  std::optional<double> duration_s_;
  TimerOptions options_;
  Watch train_, validate_, test_;
};

}  // namespace rtrain
