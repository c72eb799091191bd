// Parts of data sets, and several as one.
#pragma once

#include <rtrain/data/dataset.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <vector>

namespace rtrain::data {

/// torch.utils.data.Subset: sample i is sample indices[i] of `all`. A sample keeps its number of `all` in
/// SampleContext, so that its random transforms do not depend on the part.
/// @throws std::invalid_argument if `all` is null; std::out_of_range if it has no such sample.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> Subset(std::shared_ptr<const Dataset> all,
                                                         std::vector<std::int64_t> indices);

/// torch.utils.data.ConcatDataset: the samples of the first, then those of the second, ... A batch may have
/// samples of several. Their batches must then be tensors of equal type and shape but for the first dimension
/// (input, target, and those of Nested); a value of another type that comes from two data sets is refused
/// when that batch is read.
/// @throws std::invalid_argument if there is none, or one is null.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> ConcatDataset(
    std::vector<std::shared_ptr<const Dataset>> parts);

/// How large a part is: an integer is a number of samples, a floating-point value a fraction of them.
class RTRAIN_API SplitSize {
 public:
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  SplitSize(I samples) : samples_(static_cast<std::int64_t>(samples)) {}   // NOLINT: implicit on purpose
  SplitSize(double fraction) : fraction_(fraction), is_fraction_(true) {}  // NOLINT: implicit on purpose
  [[nodiscard]] bool is_fraction() const { return is_fraction_; }
  [[nodiscard]] std::int64_t samples() const { return samples_; }
  [[nodiscard]] double fraction() const { return fraction_; }

 private:
  std::int64_t samples_ = 0;
  double fraction_ = 0;
  bool is_fraction_ = false;
};

/// The sample numbers of each part of random_split(), for samplers over one data set.
/// @param dataset_size 0 or more.
/// @param sizes all numbers, with the sum dataset_size, or all fractions in [0, 1], with the sum 1. Of
/// fractions
///        each part has the whole number below, and the samples left over go one each to the first parts, as
///        in PyTorch. A part that gets none is a warning on stderr.
/// @throws std::invalid_argument otherwise.
[[nodiscard]] RTRAIN_API std::vector<std::vector<std::int64_t>> random_split_indices(
    std::int64_t dataset_size, const std::vector<SplitSize>& sizes, std::uint64_t seed);

/// torch.utils.data.random_split with torch.Generator().manual_seed(seed), the same parts as there:
///   const auto parts = data::random_split(all, {0.8, 0.2}, /*seed=*/42);
/// Every rank must give the same seed.
[[nodiscard]] RTRAIN_API std::vector<std::shared_ptr<Dataset>> random_split(
    std::shared_ptr<const Dataset> all, const std::vector<SplitSize>& sizes, std::uint64_t seed);

}  // namespace rtrain::data
