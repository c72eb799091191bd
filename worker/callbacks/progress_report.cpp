#include "worker/callbacks/progress_report.h"

#include <rtrain/progress.h>
#include <rtrain/trainer.h>

namespace rtrain {
namespace {

const char* name_of(Stage stage) {
  switch (stage) {
    case Stage::kSanityCheck: return "sanity";
    case Stage::kValidate: return "validate";
    case Stage::kTest: return "test";
    case Stage::kPredict: return "predict";
    default: return "train";
  }
}

}  // namespace

void ProgressReport::restart() {
  since_ = std::chrono::steady_clock::now();
  batches_ = 0;
}

void ProgressReport::batch_done(Trainer& trainer, std::int64_t batch_idx, std::int64_t batches) {
  ++batches_;
  const bool last = batch_idx + 1 == batches;
  if (!last && !progress_due()) return;
  const auto now = std::chrono::steady_clock::now();
  const double elapsed = std::chrono::duration<double>(now - since_).count();
  if (elapsed > 0.05) {  // a shorter look says little
    per_s_ = static_cast<double>(batches_) / elapsed;
    since_ = now;
    batches_ = 0;
  }
  Progress progress;
  progress.stage = name_of(trainer.stage());
  progress.epoch = trainer.current_epoch();
  progress.max_epochs = trainer.fitting() ? trainer.max_epochs() : -1;
  progress.step = batch_idx + 1;
  progress.steps = batches == kUnknownBatches ? 0 : batches;
  progress.steps_per_s = per_s_;
  if (trainer.is_global_zero()) progress.prog_bar = trainer.progress_bar_metrics();
  report_progress(progress, last);
}

void ProgressReport::on_train_batch_end(Trainer& trainer, LightningModule&, const StepOutput&, const Batch&,
                                        std::int64_t batch_idx) {
  batch_done(trainer, batch_idx, trainer.num_training_batches());
}
void ProgressReport::on_validation_batch_end(Trainer& trainer, LightningModule&, const torch::Tensor&,
                                             const Batch&, std::int64_t batch_idx) {
  batch_done(trainer, batch_idx, trainer.num_evaluation_batches());
}
void ProgressReport::on_test_batch_end(Trainer& trainer, LightningModule&, const torch::Tensor&, const Batch&,
                                       std::int64_t batch_idx) {
  batch_done(trainer, batch_idx, trainer.num_evaluation_batches());
}
void ProgressReport::on_predict_batch_end(Trainer& trainer, LightningModule&, const torch::Tensor&,
                                          const Batch&, std::int64_t batch_idx) {
  batch_done(trainer, batch_idx, trainer.num_evaluation_batches());
}

}  // namespace rtrain
