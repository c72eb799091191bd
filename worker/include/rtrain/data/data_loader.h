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
  /// which samples each batch has; excludes batch_size, shuffle, sampler and drop_last
  std::shared_ptr<BatchSampler> batch_sampler{};
  bool drop_last = false;  ///< drop the last batch if it is incomplete
  /// threads that make batches, each a batch at a time; 0: next() makes them. Batches come in the same order
  /// and with the same values for any number. More than 1 needs a data set that several threads may read.
  int num_workers = 1;
  /// batches that each thread makes ahead, >= 1; refused with num_workers = 0. Default: 2. The loader holds
  /// no more than num_workers * prefetch_factor batches that next() has not given out.
  std::optional<int> prefetch_factor{};
  /// put batches in page-locked memory, so that copying them to a GPU does not block the host
  bool pin_memory = false;
  /// next() throws if a batch is not ready after so many seconds; 0: it waits. Needs num_workers >= 1
  double timeout_s = 0;
  /// of shuffle, and of the data set's random transforms (SampleContext); the same for any number of ranks
  std::uint64_t seed = 0;
};

/// Iterates over a data set in batches. Cheap to copy: copies share the data set and the sampler.
/// In a distributed run the Trainer injects a DistributedSampler (shuffling is kept for training), as
/// Lightning does; of a batch_sampler that is not exactly a BatchSampler each rank takes every n-th batch.
class RTRAIN_API DataLoader {
 public:
  DataLoader() = default;  ///< no data
  /// @throws std::invalid_argument if a number is out of its range, there is no data set, or options exclude
  ///        each other.
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
  /// The order of samples; with a batch_sampler() that of its batches, one after the other.
  [[nodiscard]] Sampler& sampler() const { return *sampler_; }
  /// Null unless the batches are of different sizes or of a class of the user's. A plain BatchSampler is
  /// taken apart: its sampler, batch_size and drop_last are the loader's.
  [[nodiscard]] const std::shared_ptr<BatchSampler>& batch_sampler() const { return options_.batch_sampler; }
  /// The same loader with another sampler, and without its batch_sampler.
  [[nodiscard]] DataLoader with_sampler(std::shared_ptr<Sampler> sampler) const;
  /// The same loader with other batches.
  [[nodiscard]] DataLoader with_batch_sampler(std::shared_ptr<BatchSampler> batch_sampler) const;

  /// Visits the batches of `epoch`, starting at batch number `first` (for a resumed epoch; the batches before
  /// it are not read).
  class RTRAIN_API Iterator {
   public:
    /// Joins the threads: waits for the calls of the data set that have begun.
    ~Iterator();
    Iterator(Iterator&&) noexcept;
    Iterator& operator=(Iterator&&) noexcept;
    /// The next batch; std::nullopt at the end. Rethrows an exception of the data set when the batch that it
    /// ended is asked for, and again in later calls.
    /// @throws std::runtime_error after timeout_s; the next call waits for the same batch again.
    /// @thread one at a time.
    [[nodiscard]] std::optional<Batch> next();

   private:
    friend class DataLoader;
    struct Impl;
    explicit Iterator(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };
  /// @throws std::invalid_argument if first < 0.
  [[nodiscard]] Iterator epoch(std::int64_t epoch, std::int64_t first = 0) const;

 private:
  std::shared_ptr<const Dataset> dataset_;
  DataLoaderOptions options_;
  std::shared_ptr<Sampler> sampler_;
};

}  // namespace rtrain
