#include <rtrain/callbacks/prediction_writer.h>

#include <rtrain/trainer.h>

namespace rtrain {

void PredictionWriter::on_predict_epoch_start(Trainer&, LightningModule&) {
  predictions_.clear();
  indices_.clear();
}

void PredictionWriter::on_predict_batch_end(Trainer& trainer, LightningModule& module,
                                            const torch::Tensor& output, const Batch& batch,
                                            std::int64_t batch_idx) {
  auto indices = trainer.prediction_indices(batch_idx);
  if (interval_ != Interval::kEpoch) write_on_batch_end(trainer, module, output, indices, batch, batch_idx);
  if (interval_ == Interval::kBatch) return;
  predictions_.push_back(output);
  indices_.push_back(std::move(indices));
}

void PredictionWriter::on_predict_epoch_end(Trainer& trainer, LightningModule& module) {
  if (interval_ != Interval::kBatch) write_on_epoch_end(trainer, module, predictions_, indices_);
  predictions_.clear();
  indices_.clear();
}

}  // namespace rtrain
