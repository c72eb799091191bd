// What a random transform may depend on, so that it gives the same sample again.
#pragma once

#include <rtrain/export.h>

#include <ATen/core/Generator.h>

#include <cstdint>
#include <span>
#include <vector>

namespace rtrain {

/// The seed and the epoch that a sample is read for. The loader hands it to Dataset::get_batch() and
/// MapDataset::get(); a random transform of sample `index` draws from generator(index) and from nothing else.
/// What it draws then depends on (seed, epoch, index) alone: not on threads, ranks, batch size, nor on
/// whether a run was resumed.
struct RTRAIN_API SampleContext {
  std::uint64_t seed = 0;  ///< DataLoaderOptions::seed
  std::int64_t epoch = 0;

  /// 64 bits mixed from seed, epoch and index, for a generator of another kind (std::mt19937_64).
  /// @param index of the sample in its data set, as get_batch() is given it.
  [[nodiscard]] std::uint64_t seed_of(std::int64_t index) const;
  /// A CPU generator for one sample: each call makes a new one, in the same state. Several transforms of a
  /// sample draw from one of them in turn. Pass it to each random operation: at::rand({1}, generator).
  [[nodiscard]] at::Generator generator(std::int64_t index) const;
  /// The generators of the samples of a batch, in their order: what Transform::apply() takes.
  [[nodiscard]] std::vector<at::Generator> generators(std::span<const std::int64_t> indices) const;
  /// A CPU generator for what is drawn once a batch (BatchTransform), of seed, epoch, and the samples of the
  /// batch in their order.
  [[nodiscard]] at::Generator batch_generator(std::span<const std::int64_t> indices) const;
};

}  // namespace rtrain
