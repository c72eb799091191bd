// Reports metrics and a checkpoint to the job after each training epoch: Ray's RayTrainReportCallback.
#pragma once

#include <rtrain/callback.h>

#include <filesystem>

namespace rtrain {

/// Ray's RayTrainReportCallback: at the end of every training epoch it calls report() with callback_metrics,
/// "epoch" (from 0), "step" and a checkpoint folder that contains "checkpoint.ckpt". It runs after all other
/// callbacks and the module's own hook (Ray's runs before them), so the checkpoint includes the decisions of
/// EarlyStopping and ModelCheckpoint for that epoch: a run that fails and is retried ends like one that never
/// failed. If the job yields within an epoch, it reports such a checkpoint with "epoch" and "step" only:
/// there are no metrics at that point, so it has no score that competes with those of whole epochs. With
/// AsyncCheckpointIO the checkpoint of an epoch is written and reported while the next one trains
/// (CheckpointUploadMode::kAsync), and that of a yield at once. What a CheckpointIO stores elsewhere than in
/// the file system cannot be reported.
class RTRAIN_API TrainReportCallback : public Callback {
 public:
  static constexpr const char* kCheckpointName = "checkpoint.ckpt";
  /// @throws std::runtime_error if temporary files cannot be created (names TMPDIR and the cause).
  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  void on_train_epoch_end(Trainer& trainer, LightningModule& module) override;
  [[nodiscard]] CallbackOrder order() const override { return CallbackOrder::kReport; }
  [[nodiscard]] CallbackRole role() const override { return CallbackRole::kReport; }
  void on_yield(Trainer& trainer, LightningModule& module) override;
};

}  // namespace rtrain
