// The interface of a data set.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/data/sample_context.h>

#include <cstdint>
#include <memory>
#include <span>

namespace rtrain {

/// A map-style data set that is read in batches: one call per batch, with no per-sample dispatch and no
/// collate step. MapDataset is the one that is read sample by sample.
/// @thread the loader's: with num_workers = 0 the caller of next(), with 1 (the default) one thread of the
///         loader's at a time, with more several at the same time. Then get_batch() must not change anything
///         that two calls share; what it reads may be shared. Two loaders over one data set (for training
///         and validation) may call it at the same time, too.
class RTRAIN_API Dataset {
 public:
  virtual ~Dataset() = default;
  /// Number of samples, 0 or more; must not change.
  [[nodiscard]] virtual std::int64_t size() const = 0;
  /// Returns the samples at `indices` (each in [0, size())), stacked in that order.
  [[nodiscard]] virtual Batch get_batch(std::span<const std::int64_t> indices) const = 0;
  /// The same for a data set with random transforms, and what the loader calls. A data set that overrides it
  /// draws sample i's numbers from context.generator(i). Default: get_batch(indices).
  [[nodiscard]] virtual Batch get_batch(std::span<const std::int64_t> indices,
                                        const SampleContext& context) const {
    (void)context;
    return get_batch(indices);
  }
  /// The bytes of all samples, of a data set that on_device() can copy; 0: it cannot.
  [[nodiscard]] virtual std::int64_t resident_bytes() const { return 0; }
  /// The same data set with its samples in the memory of `device`, where get_batch() picks them. Batches have
  /// the same values. Called only where resident_bytes() is not 0.
  [[nodiscard]] virtual std::shared_ptr<const Dataset> on_device(torch::Device device) const {
    (void)device;
    return nullptr;
  }
};

}  // namespace rtrain
