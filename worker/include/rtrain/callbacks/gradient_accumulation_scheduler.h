// Accumulation that changes from epoch to epoch.
#pragma once

#include <rtrain/callback.h>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <utility>

namespace rtrain {

/// Lightning's GradientAccumulationScheduler: from each epoch in `scheduling` on, counted from 0, an
/// optimizer step takes that many batches. Before the first of them it takes 1.
///   GradientAccumulationScheduler({{0, 8}, {4, 4}, {8, 1}})
class RTRAIN_API GradientAccumulationScheduler : public Callback {
 public:
  /// @throws std::invalid_argument no entry, an epoch below 0, or less than 1 batch.
  GradientAccumulationScheduler(
      std::initializer_list<std::pair<const std::int64_t, std::int64_t>> scheduling);
  explicit GradientAccumulationScheduler(std::map<std::int64_t, std::int64_t> scheduling);

  /// Batches a step in `epoch`.
  [[nodiscard]] std::int64_t factor(std::int64_t epoch) const;

  /// @throws std::invalid_argument the Trainer has an accumulate_grad_batches of its own.
  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  /// Also for a run that is resumed within an epoch, whose start is not repeated.
  void on_train_start(Trainer& trainer, LightningModule& module) override;
  void on_train_epoch_start(Trainer& trainer, LightningModule& module) override;

 private:
  std::map<std::int64_t, std::int64_t> scheduling_;
};

}  // namespace rtrain
