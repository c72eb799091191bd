#pragma once

#include <rtrain/callback.h>

#include <filesystem>

namespace rtrain {

/// Ray's RayTrainReportCallback: at the end of every training epoch report() gets callback_metrics, "epoch"
/// (from 0) and "step", with a checkpoint folder that holds "checkpoint.ckpt". It runs after all other
/// callbacks and the module's own hook (Ray's runs before them), so that the checkpoint holds what
/// EarlyStopping and ModelCheckpoint decided for that epoch: a run that fails and is tried again ends as one
/// that never failed. When the job gives its place back in the middle of an epoch it reports such a
/// checkpoint with "epoch" and "step" alone: nothing was measured there, and no score of it competes with
/// those of whole epochs.
class RTRAIN_API TrainReportCallback : public Callback {
 public:
  static constexpr const char* kCheckpointName = "checkpoint.ckpt";
  /// @throws std::runtime_error temporary files cannot be made: names TMPDIR and the cause.
  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  void on_train_epoch_end(Trainer& trainer, LightningModule& module) override;
  [[nodiscard]] CallbackOrder order() const override { return CallbackOrder::kReport; }
  void on_yield(Trainer& trainer, LightningModule& module) override;
};

}  // namespace rtrain
