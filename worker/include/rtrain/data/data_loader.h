// Reads a data set in batches.
#pragma once

#include <rtrain/data/dataset.h>
#include <rtrain/data/sampler.h>

#include <nlohmann/json.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

namespace rtrain {

class StreamDataset;

/// The number of batches of an epoch that ends when its stream does. Greater than any number of batches.
inline constexpr std::int64_t kUnknownBatches = std::numeric_limits<std::int64_t>::max();

/// What the training of several ranks does when the stream of one of them ends and others go on.
enum class StreamEnd {
  kStop,  ///< the epoch ends on all ranks; what the others have left is not seen in it
  kPad,   ///< that rank reads its shards again from their beginning, until every stream has ended once: all
          ///< samples are seen, some of them twice
};

/// Where the samples of a data set lie while the Trainer reads it.
enum class Residency {
  kHost,  ///< where the data set has them
  kAuto,  ///< in the GPU's memory, if all of them take less than a fifth of what is free there: no batch is
          ///< copied then. Of TensorDataset, MNIST, FashionMNIST and CIFAR with transforms that are pointwise
};

struct RTRAIN_API DataLoaderOptions {
  std::int64_t batch_size = 1;         ///< >= 1
  bool shuffle = false;                ///< excludes sampler
  std::shared_ptr<Sampler> sampler{};  ///< default: sequential, or random with shuffle
  /// which samples each batch has; excludes batch_size, shuffle, sampler and drop_last
  std::shared_ptr<BatchSampler> batch_sampler{};
  bool drop_last = false;  ///< drop the last batch if it is incomplete
  /// threads that make batches, each a batch at a time; 0: next() makes them. Batches come in the same order
  /// and with the same values for any number. More than 1 needs a data set that several threads may read. Of
  /// a stream each thread reads a shard, and batches come from them in turn: the order depends on the number.
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
  /// of a stream that fit() trains on with several ranks. kPad: of one that is the only loader
  StreamEnd stream_end = StreamEnd::kStop;
  /// Refused with a stream. On the CPU there is no difference
  Residency residency = Residency::kHost;
};

/// Iterates over a data set in batches. Cheap to copy: copies share the data set and the sampler.
/// In a distributed run the Trainer injects a DistributedSampler (shuffling is kept for training), as
/// Lightning does; of a batch_sampler that is not exactly a BatchSampler each rank takes every n-th batch,
/// and of a stream its shards.
class RTRAIN_API DataLoader {
 public:
  DataLoader() = default;  ///< no data
  /// @throws std::invalid_argument if a number is out of its range, there is no data set, or options exclude
  ///        each other.
  DataLoader(std::shared_ptr<const Dataset> dataset, DataLoaderOptions options);
  /// A loader of an IterableDataset. A batch has samples of one shard; with drop_last an incomplete one of
  /// each shard is dropped. @throws std::invalid_argument also if shuffle, sampler or batch_sampler is set.
  DataLoader(std::shared_ptr<const StreamDataset> stream, DataLoaderOptions options);
  /// Refused, as any data set that is null.
  DataLoader(std::nullptr_t, DataLoaderOptions options)
      : DataLoader(std::shared_ptr<const Dataset>(), std::move(options)) {}
  template <class D, std::integral Size>
  DataLoader(D&&, Size) {
    static_assert(!std::integral<Size>,
                  "a DataLoader takes its options by name: DataLoader(dataset, {.batch_size = 64})");
  }

  [[nodiscard]] bool defined() const { return dataset_ != nullptr || is_stream(); }
  [[nodiscard]] bool is_stream() const { return stream_ != nullptr; }
  /// Batches per epoch. Of a stream: at most so many, from its size() and the number of ranks, or
  /// kUnknownBatches.
  [[nodiscard]] std::int64_t size() const;
  [[nodiscard]] const DataLoaderOptions& options() const { return options_; }
  [[nodiscard]] const std::shared_ptr<const Dataset>& dataset() const {
    return dataset_;
  }  ///< null: a stream
  [[nodiscard]] const std::shared_ptr<const StreamDataset>& stream() const { return stream_; }  ///< or null
  /// The order of samples; with a batch_sampler() that of its batches, one after the other.
  /// @throws std::logic_error a stream has none.
  [[nodiscard]] Sampler& sampler() const;
  /// Null unless the batches are of different sizes or of a class of the user's. A plain BatchSampler is
  /// taken apart: its sampler, batch_size and drop_last are the loader's.
  [[nodiscard]] const std::shared_ptr<BatchSampler>& batch_sampler() const { return options_.batch_sampler; }
  /// The same loader with another sampler, and without its batch_sampler.
  [[nodiscard]] DataLoader with_sampler(std::shared_ptr<Sampler> sampler) const;
  /// The same loader with other batches.
  [[nodiscard]] DataLoader with_batch_sampler(std::shared_ptr<BatchSampler> batch_sampler) const;
  /// The same loader, sampler and order over another data set of the same size.
  /// @throws std::invalid_argument the sizes differ, or this is a loader of a stream.
  [[nodiscard]] DataLoader with_dataset(std::shared_ptr<const Dataset> dataset) const;
  /// The same loader of a stream for one of several ranks; before, it reads the shards of rank 0 of 1.
  /// @throws std::invalid_argument if rank is outside [0, ranks).
  [[nodiscard]] DataLoader with_ranks(int rank, int ranks) const;

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
    /// True if next() will give a batch. Of a stream: waits for that batch, and throws what next() would.
    [[nodiscard]] bool has_next();
    /// True if next() will give a batch at once, because a thread has made it. Of a stream always false.
    [[nodiscard]] bool is_made() const;
    /// The place in a stream behind the latest batch of next(), for resume(); null if there is no stream.
    [[nodiscard]] nlohmann::json save_state() const;

   private:
    friend class DataLoader;
    struct Impl;
    explicit Iterator(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };
  /// Of a stream the batches before `first` are read and dropped. @throws std::invalid_argument if first < 0.
  [[nodiscard]] Iterator epoch(std::int64_t epoch, std::int64_t first = 0) const;
  /// The batches of a stream behind the place that Iterator::save_state() gave, in the same epoch, with as
  /// many ranks and threads: the same batches as there, also with another batch_size as far as samples go.
  /// @throws std::invalid_argument if there is no stream, or ranks, rank or num_workers differ (names both).
  [[nodiscard]] Iterator resume(std::int64_t epoch, const nlohmann::json& state) const;

 private:
  [[nodiscard]] Iterator read_stream(std::int64_t epoch, const nlohmann::json& state) const;
  std::shared_ptr<const Dataset> dataset_;
  std::shared_ptr<const StreamDataset> stream_;
  DataLoaderOptions options_;
  std::shared_ptr<Sampler> sampler_;
  int rank_ = 0, ranks_ = 1;  ///< of a stream
};

}  // namespace rtrain
