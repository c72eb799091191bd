// Batch normalization over the batches of all ranks: torch.nn.SyncBatchNorm.
#pragma once

#include <rtrain/strategies.h>

namespace rtrain {

/// While one lives, every batch norm of this thread that would use the statistics of its batch uses those of
/// all ranks' batches together, forward and backward. Modules stay as they are: at::batch_norm itself does
/// it, so that whatever calls it (BatchNorm1d, 2d, 3d, a functional) is synchronized. Each rank runs the same
/// batch norms in the same order; batches may differ in size.
/// @thread the training thread. @lifetime the strategy outlives it and the backwards of what ran under it.
class SyncBatchNormScope {
 public:
  /// @param wanted false: nothing changes, as with one rank.
  SyncBatchNormScope(bool wanted, Strategy& strategy);
  ~SyncBatchNormScope();
  SyncBatchNormScope(const SyncBatchNormScope&) = delete;
  SyncBatchNormScope& operator=(const SyncBatchNormScope&) = delete;

 private:
  Strategy* before_;
};

}  // namespace rtrain
