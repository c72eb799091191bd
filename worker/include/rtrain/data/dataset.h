// The interface of a data set.
#pragma once

#include <rtrain/batch.h>

#include <memory>
#include <span>

namespace rtrain {

/// A map-style data set that is read in batches: one call per batch, with no per-sample dispatch and no
/// collate step.
class RTRAIN_API Dataset {
 public:
  virtual ~Dataset() = default;
  /// Number of samples, 0 or more; must not change.
  [[nodiscard]] virtual std::int64_t size() const = 0;
  /// Returns the samples at `indices` (each in [0, size())), stacked in that order.
  /// @thread a loader's thread may call it; never two threads at the same time.
  [[nodiscard]] virtual Batch get_batch(std::span<const std::int64_t> indices) const = 0;
};

}  // namespace rtrain
