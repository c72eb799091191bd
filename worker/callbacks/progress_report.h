#pragma once

#include <rtrain/callback.h>

#include <chrono>
#include <cstdint>

namespace rtrain {

/// Tells the job's followers where the loop is: enable_progress_bar. A step costs one look at the clock.
class ProgressReport : public Callback {
 public:
  void on_train_epoch_start(Trainer&, LightningModule&) override { restart(); }
  void on_train_batch_end(Trainer& trainer, LightningModule&, const StepOutput&, const Batch&,
                          std::int64_t batch_idx) override;
  void on_validation_epoch_start(Trainer&, LightningModule&) override { restart(); }
  void on_validation_batch_end(Trainer& trainer, LightningModule&, const torch::Tensor&, const Batch&,
                               std::int64_t batch_idx) override;
  void on_test_epoch_start(Trainer&, LightningModule&) override { restart(); }
  void on_test_batch_end(Trainer& trainer, LightningModule&, const torch::Tensor&, const Batch&,
                         std::int64_t batch_idx) override;
  void on_predict_epoch_start(Trainer&, LightningModule&) override { restart(); }
  void on_predict_batch_end(Trainer& trainer, LightningModule&, const torch::Tensor&, const Batch&,
                            std::int64_t batch_idx) override;

 private:
  void restart();
  void batch_done(Trainer& trainer, std::int64_t batch_idx, std::int64_t batches);
  std::chrono::steady_clock::time_point since_;
  std::int64_t batches_ = 0;  ///< since then
  double per_s_ = 0;
};

}  // namespace rtrain
