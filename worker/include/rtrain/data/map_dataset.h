// A data set that is read sample by sample.
#pragma once

#include <rtrain/data/collate.h>
#include <rtrain/data/dataset.h>

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rtrain {

/// torch.utils.data.Dataset: __getitem__ is get(), and collate() makes the batch.
///   struct Photos : rtrain::MapDataset<std::pair<torch::Tensor, int>> {
///     std::int64_t size() const override { return 1000; }
///     std::pair<torch::Tensor, int> get(std::int64_t index) const override { ... }
///   };
/// @tparam Sample movable; see data::collate() for those that have a default.
/// @thread get() and collate(): as get_batch() of Dataset.
template <class Sample>
class MapDataset : public Dataset {
  static_assert(!std::same_as<Sample, bool>, "MapDataset<bool>: use MapDataset<int>, or one of tensors");

 public:
  using SampleType = Sample;

  /// @param index in [0, size()).
  [[nodiscard]] virtual Sample get(std::int64_t index) const = 0;
  /// The same with random transforms, which draw from context.generator(index); what get_batch() calls when a
  /// loader reads. Default: get(index).
  [[nodiscard]] virtual Sample get(std::int64_t index, const SampleContext& context) const {
    (void)context;
    return get(index);
  }
  /// @param samples of a batch, one or more, in order.
  [[nodiscard]] virtual Batch collate(std::span<const Sample> samples) const {
    return data::collate(samples);
  }

  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return batch_of(indices, [this](std::int64_t index) { return get(index); });
  }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices,
                                const SampleContext& context) const override {
    return batch_of(indices, [&](std::int64_t index) { return get(index, context); });
  }

 private:
  template <class Get>
  [[nodiscard]] Batch batch_of(std::span<const std::int64_t> indices, const Get& get_one) const {
    std::vector<Sample> samples;
    samples.reserve(indices.size());
    for (const auto index : indices) samples.push_back(get_one(index));
    try {
      return collate(samples);
    } catch (const data::CollateError& error) {
      if (error.sample() >= indices.size() || error.other() >= indices.size()) throw;
      throw data::CollateError(std::string(error.what()) + "; in the data set they are the samples " +
                                   std::to_string(indices[error.sample()]) + " and " +
                                   std::to_string(indices[error.other()]),
                               error.sample(), error.other());
    }
  }
};

}  // namespace rtrain
