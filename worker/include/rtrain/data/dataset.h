#pragma once

#include <rtrain/batch.h>

#include <memory>
#include <span>

namespace rtrain {

/// A map-style data set that is read a batch at a time (one call a batch: no per-sample dispatch, no
/// collate).
class RTRAIN_API Dataset {
 public:
  virtual ~Dataset() = default;
  /// Number of samples, >= 0; constant.
  [[nodiscard]] virtual std::int64_t size() const = 0;
  /// The samples at `indices` (each in [0, size())), stacked in that order.
  /// @thread may be called from a loader's thread, by one thread at a time.
  [[nodiscard]] virtual Batch get_batch(std::span<const std::int64_t> indices) const = 0;
};

}  // namespace rtrain
