// Writes predictions where they are made: Lightning's BasePredictionWriter.
#pragma once

#include <rtrain/callback.h>

#include <cstdint>
#include <vector>

namespace rtrain {

/// A class of one's own overrides write_on_batch_end(), write_on_epoch_end() or both, and is given to the
/// Trainer's callbacks. With several ranks each rank gets its own part of the data set, and the indices say
/// which.
class RTRAIN_API PredictionWriter : public Callback {
 public:
  enum class Interval { kBatch, kEpoch, kBatchAndEpoch };
  explicit PredictionWriter(Interval write_interval = Interval::kBatch) : interval_(write_interval) {}

  /// @param batch_indices the places of the batch's samples in the data set, in order.
  virtual void write_on_batch_end(Trainer& /*trainer*/, LightningModule& /*module*/,
                                  const torch::Tensor& /*prediction*/,
                                  const std::vector<std::int64_t>& /*batch_indices*/, const Batch& /*batch*/,
                                  std::int64_t /*batch_idx*/) {}
  /// @param predictions of this rank, batch by batch, on the device they were made on. @param batch_indices
  /// as
  ///        above, batch by batch.
  virtual void write_on_epoch_end(Trainer& /*trainer*/, LightningModule& /*module*/,
                                  const std::vector<torch::Tensor>& /*predictions*/,
                                  const std::vector<std::vector<std::int64_t>>& /*batch_indices*/) {}

  void on_predict_epoch_start(Trainer& trainer, LightningModule& module) override;
  void on_predict_batch_end(Trainer& trainer, LightningModule& module, const torch::Tensor& output,
                            const Batch& batch, std::int64_t batch_idx) override;
  void on_predict_epoch_end(Trainer& trainer, LightningModule& module) override;

 private:
  Interval interval_;
  std::vector<torch::Tensor> predictions_;
  std::vector<std::vector<std::int64_t>> indices_;
};

}  // namespace rtrain
