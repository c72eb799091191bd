// The batches of a pass on their way to the device, the next one ahead of the step that takes it.
#pragma once

#include "worker/loops/batch_source.h"
#include "worker/run/run_context.h"
#include "worker/run/sending.h"

#include <memory>
#include <optional>

namespace rtrain {

/// A host that waits for its GPU once a step (a loss that is printed) would begin each copy after the step
/// before. Here the copy of a batch that is made already begins before that step does, and the step that
/// takes it waits for the copy alone. Hooks of the transfer that a module overrides see their batch when it
/// is taken, and so nothing is sent ahead then; nor on the CPU, or while a profiler measures.
/// @thread the training thread.
class BatchFeed {
 public:
  explicit BatchFeed(RunContext& run) : run_(run) {}

  /// A batch as it was taken from the source: on its way, or where it was made.
  struct Taken {
    std::unique_ptr<BatchCopy> copy;
    std::optional<Batch> batch;
    [[nodiscard]] explicit operator bool() const { return copy != nullptr || batch.has_value(); }
  };

  /// Before the first batch of a pass.
  void begin();
  /// The next batch; nothing at the end.
  [[nodiscard]] Taken take(BatchSource::Iterator& batches);
  [[nodiscard]] Batch to_device(Taken taken);
  /// Before the step of the batch that was taken: begins the copy of the next one, if it is made already.
  void look_ahead(BatchSource::Iterator& batches);
  /// Gives up what was sent ahead.
  void end() { next_ = {}; }

 private:
  RunContext& run_;
  SendBatch send_ = nullptr;  ///< of this pass; null: nothing is sent ahead
  Taken next_;
};

}  // namespace rtrain
