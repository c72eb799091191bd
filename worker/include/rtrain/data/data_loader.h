#pragma once

#include <rtrain/data/dataset.h>
#include <rtrain/data/sampler.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>

namespace rtrain {

struct RTRAIN_API DataLoaderOptions {
  std::int64_t batch_size = 1;  ///< >= 1
  bool shuffle = false;         ///< exclusive with sampler
  std::shared_ptr<Sampler> sampler{};
  bool drop_last = false;  ///< drop the last batch when it is short
  int prefetch = 2;        ///< batches made ahead by one background thread; 0: none
  /// batches in page-locked memory: their copy to a GPU does not hold the host up
  bool pin_memory = false;
  std::uint64_t seed = 0;  ///< of shuffle, with any number of ranks
};

/// Batches of one data set in an order. Cheap to copy (shares the data set and the sampler).
/// The Trainer injects a DistributedSampler in a distributed run (shuffle kept for training), as Lightning
/// does.
class RTRAIN_API DataLoader {
 public:
  DataLoader() = default;  ///< empty: no data
  /// @throws std::invalid_argument batch_size < 1, no data set, both shuffle and sampler.
  DataLoader(std::shared_ptr<const Dataset> dataset, DataLoaderOptions options);
  template <class D, std::integral Size>
  DataLoader(D&&, Size) {
    static_assert(!std::integral<Size>,
                  "a DataLoader takes its options by name: DataLoader(dataset, {.batch_size = 64})");
  }

  [[nodiscard]] bool defined() const { return dataset_ != nullptr; }
  [[nodiscard]] std::int64_t size() const;  ///< batches an epoch
  [[nodiscard]] const DataLoaderOptions& options() const { return options_; }
  [[nodiscard]] const std::shared_ptr<const Dataset>& dataset() const { return dataset_; }
  [[nodiscard]] Sampler& sampler() const { return *sampler_; }
  /// The same loader over another order.
  [[nodiscard]] DataLoader with_sampler(std::shared_ptr<Sampler> sampler) const;

  /// Visits the batches of `epoch` from batch number `first` on (resume: the skipped ones are not read).
  class RTRAIN_API Iterator {
   public:
    ~Iterator();
    Iterator(Iterator&&) noexcept;
    /// The next batch, or nothing at the end. An exception of the data set comes out here.
    [[nodiscard]] std::optional<Batch> next();

   private:
    friend class DataLoader;
    struct Impl;
    explicit Iterator(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };
  [[nodiscard]] Iterator epoch(std::int64_t epoch, std::int64_t first = 0) const;

 private:
  std::shared_ptr<const Dataset> dataset_;
  DataLoaderOptions options_;
  std::shared_ptr<Sampler> sampler_;
};

}  // namespace rtrain
