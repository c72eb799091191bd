// Progress in a terminal: Lightning's progress bar.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/trainer.h>

#include <cstdint>
#include <string>

namespace rtrain {

/// On rank 0 of a program that is no job (rtrain's clients draw a job's progress): a bar on stderr if that is
/// a terminal, else a line every 10 seconds and at the end of an epoch that took longer. NO_COLOR (any value
/// but an empty one) leaves colors out. The Trainer adds one, unless enable_progress_bar is false.
class RTRAIN_API ProgressBar : public Callback {
 public:
  /// What stands behind the bar. Default: what is logged with prog_bar = true.
  [[nodiscard]] virtual Metrics get_metrics(Trainer& trainer, LightningModule& module);
  [[nodiscard]] CallbackRole role() const override { return CallbackRole::kProgressBar; }

  void on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput& output,
                          const Batch& batch, std::int64_t batch_idx) override;
  void on_train_epoch_start(Trainer& trainer, LightningModule& module) override;
  void on_validation_epoch_start(Trainer& trainer, LightningModule& module) override;
  void on_validation_batch_end(Trainer& trainer, LightningModule& module, const torch::Tensor& output,
                               const Batch& batch, std::int64_t batch_idx) override;
  void on_test_epoch_start(Trainer& trainer, LightningModule& module) override;
  void on_test_batch_end(Trainer& trainer, LightningModule& module, const torch::Tensor& output,
                         const Batch& batch, std::int64_t batch_idx) override;
  void on_predict_epoch_start(Trainer& trainer, LightningModule& module) override;
  void on_predict_batch_end(Trainer& trainer, LightningModule& module, const torch::Tensor& output,
                            const Batch& batch, std::int64_t batch_idx) override;

  /// How a line is drawn.
  struct RTRAIN_API Style {
    bool terminal = false;  ///< drawn over the line before
    bool color = false;
    int width = 80;  ///< columns of the terminal
  };

 protected:
  /// Default: of stderr and NO_COLOR.
  [[nodiscard]] virtual Style style() const;
  /// Seconds of a clock that only goes forward.
  [[nodiscard]] virtual double now() const;
  /// Default: to stderr.
  virtual void write(const std::string& text);

 private:
  void begin();
  void show(Trainer& trainer, LightningModule& module, std::int64_t done, std::int64_t all);
  double began_ = 0, shown_ = 0;
};

/// One line: "Epoch 3/10:  42% ██████▍         42/100 1.3 it/s loss=0.12".
/// @param done, all batches; all -1: not known. @param style ignores `terminal`.
[[nodiscard]] RTRAIN_API std::string progress_line(const std::string& title, std::int64_t done,
                                                   std::int64_t all, double per_s, const Metrics& metrics,
                                                   const ProgressBar::Style& style);

}  // namespace rtrain
