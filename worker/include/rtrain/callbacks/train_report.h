#pragma once

#include <rtrain/callback.h>

#include <filesystem>

namespace rtrain {

/// Ray's RayTrainReportCallback: at the end of every training epoch report() gets callback_metrics, "epoch" (from 0) and "step",
/// with a checkpoint folder that holds "checkpoint.ckpt". As in Ray it runs before the module's own on_train_epoch_end: a metric
/// logged there is not in that epoch's report. When the job gives its place back in the middle of an epoch it reports such a
/// checkpoint with "epoch" and "step" alone: nothing was measured there, and no score of it competes with those of whole epochs.
class RTRAIN_API TrainReportCallback : public Callback {
 public:
  static constexpr const char* kCheckpointName = "checkpoint.ckpt";
  void on_train_epoch_end(Trainer& trainer, LightningModule& module) override;
  void on_yield(Trainer& trainer, LightningModule& module) override;
};

}  // namespace rtrain
