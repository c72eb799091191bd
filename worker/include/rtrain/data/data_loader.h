// Reads a data set in batches.
#pragma once

#include <rtrain/data/dataset.h>
#include <rtrain/data/sampler.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>

namespace rtrain {

struct RTRAIN_API DataLoaderOptions {
  std::int64_t batch_size = 1;         ///< >= 1
  bool shuffle = false;                ///< excludes sampler
  std::shared_ptr<Sampler> sampler{};  ///< default: sequential, or random with shuffle
  bool drop_last = false;              ///< drop the last batch if it is incomplete
  int prefetch = 2;                    ///< batches that a background thread prepares ahead; 0: none
  /// put batches in page-locked memory, so that copying them to a GPU does not block the host
  bool pin_memory = false;
  std::uint64_t seed = 0;  ///< of shuffle; the same order for any number of ranks
};

/// Iterates over a data set in batches. Cheap to copy: copies share the data set and the sampler.
/// In a distributed run the Trainer injects a DistributedSampler (shuffling is kept for training), as
/// Lightning does.
class RTRAIN_API DataLoader {
 public:
  DataLoader() = default;  ///< no data
  /// @throws std::invalid_argument if batch_size < 1, prefetch < 0, there is no data set, or both shuffle and
  ///        sampler are given.
  DataLoader(std::shared_ptr<const Dataset> dataset, DataLoaderOptions options);
  template <class D, std::integral Size>
  DataLoader(D&&, Size) {
    static_assert(!std::integral<Size>,
                  "a DataLoader takes its options by name: DataLoader(dataset, {.batch_size = 64})");
  }

  [[nodiscard]] bool defined() const { return dataset_ != nullptr; }
  [[nodiscard]] std::int64_t size() const;  ///< batches per epoch
  [[nodiscard]] const DataLoaderOptions& options() const { return options_; }
  [[nodiscard]] const std::shared_ptr<const Dataset>& dataset() const { return dataset_; }
  [[nodiscard]] Sampler& sampler() const { return *sampler_; }
  /// The same loader with another sampler.
  [[nodiscard]] DataLoader with_sampler(std::shared_ptr<Sampler> sampler) const;

  /// Visits the batches of `epoch`, starting at batch number `first` (for a resumed epoch; the batches before
  /// it are not read).
  class RTRAIN_API Iterator {
   public:
    ~Iterator();
    Iterator(Iterator&&) noexcept;
    Iterator& operator=(Iterator&&) noexcept;
    /// The next batch; std::nullopt at the end. Rethrows an exception of the data set.
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
