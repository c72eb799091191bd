// Data sets that are read from front to back: torch.utils.data.IterableDataset.
#pragma once

#include <rtrain/data/collate.h>

#include <nlohmann/json.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// Which part of the data a stream reads. All parts together are the data; they do not overlap. A data set of
/// files takes every count()-th file from index() on; one of records, every count()-th record.
struct RTRAIN_API Shard {
  int rank = 0, ranks = 1;      ///< of the job; rank in [0, ranks)
  int worker = 0, workers = 1;  ///< threads of this rank's loader; one that has no threads is worker 0 of 1
  std::uint64_t seed = 0;       ///< DataLoaderOptions::seed, for shuffles and random transforms

  [[nodiscard]] int index() const { return rank * workers + worker; }  ///< in [0, count())
  [[nodiscard]] int count() const { return ranks * workers; }
};

/// The samples of one shard in one epoch. @thread one at a time, not always the same.
template <class Sample>
class Stream {
 public:
  virtual ~Stream() = default;
  /// The next sample; std::nullopt at the end. It is not called again after the end.
  [[nodiscard]] virtual std::optional<Sample> next() = 0;
  /// The place behind the latest sample, for a run that resumes within an epoch: load_state() of a stream of
  /// the same shard and epoch continues there. Called after each batch, so it should be small. Null, the
  /// default: the loader reads the samples before and drops them.
  [[nodiscard]] virtual nlohmann::json save_state() const { return nullptr; }
  /// Called before the first next(), with what save_state() gave.
  virtual void load_state(const nlohmann::json& /*state*/) {
    throw std::logic_error("Stream: a class that overrides save_state() must override load_state(), too");
  }
};

/// A stream that makes batches itself, without a sample in between. @thread as Stream.
class RTRAIN_API BatchStream {
 public:
  virtual ~BatchStream() = default;
  /// What next() gives.
  struct Read {
    Batch batch{};
    std::int64_t samples = 0;  ///< as many as were asked for, or fewer if the stream ended; 0: no batch
  };
  /// The next `size` samples.
  [[nodiscard]] virtual Read next(std::int64_t size) = 0;
  /// Passes over so many samples, or to the end.
  virtual void skip(std::int64_t samples) = 0;
  [[nodiscard]] virtual nlohmann::json save_state() const { return nullptr; }  ///< as Stream's
  virtual void load_state(const nlohmann::json& state) = 0;                    ///< as Stream's
};

/// What a DataLoader reads of an IterableDataset, whatever its samples are.
class RTRAIN_API StreamDataset {
 public:
  virtual ~StreamDataset() = default;
  /// @thread the thread that will read the stream; several at the same time, one for each shard.
  [[nodiscard]] virtual std::unique_ptr<BatchStream> open_batches(const Shard& shard,
                                                                  std::int64_t epoch) const = 0;
  /// Number of samples of all shards together, if it is known (__len__): for limits that are fractions and
  /// for progress. An epoch has no more than that; it ends before if the streams do.
  [[nodiscard]] virtual std::optional<std::int64_t> size() const { return std::nullopt; }
};

namespace data::detail {

/// Samples into batches.
template <class Set>
class CollatedStream final : public BatchStream {
 public:
  using Sample = typename Set::SampleType;
  CollatedStream(const Set& set, std::unique_ptr<Stream<Sample>> samples)
      : set_(set), samples_(std::move(samples)) {
    if (samples_ == nullptr) throw std::logic_error("IterableDataset: open() gave no stream");
  }
  [[nodiscard]] Read next(std::int64_t size) override {
    std::vector<Sample> samples;
    while (static_cast<std::int64_t>(samples.size()) < size) {
      auto sample = next_sample();
      if (!sample) break;
      samples.push_back(std::move(*sample));
    }
    if (samples.empty()) return {};
    return {set_.collate(samples), static_cast<std::int64_t>(samples.size())};
  }
  void skip(std::int64_t samples) override {
    while (samples > 0 && next_sample()) --samples;
  }
  [[nodiscard]] nlohmann::json save_state() const override { return samples_->save_state(); }
  void load_state(const nlohmann::json& state) override { samples_->load_state(state); }

 private:
  std::optional<Sample> next_sample() {
    if (ended_) return std::nullopt;
    auto sample = samples_->next();
    ended_ = !sample;
    return sample;
  }
  const Set& set_;
  std::unique_ptr<Stream<Sample>> samples_;
  bool ended_ = false;
};

}  // namespace data::detail

/// torch.utils.data.IterableDataset: open() is __iter__. Which part to read is handed in; there is no
/// get_worker_info() to ask.
///   struct Lines : rtrain::IterableDataset<std::string> {
///     std::unique_ptr<rtrain::Stream<std::string>> open(const rtrain::Shard& shard,
///                                                       std::int64_t epoch) const override { ... }
///   };
/// @tparam Sample movable; data::collate() says what a batch is by default.
/// @thread open() and collate(): the loader's threads, several at the same time. Neither may change what two
///         calls share.
template <class Sample>
class IterableDataset : public StreamDataset {
  static_assert(!std::same_as<Sample, bool>,
                "IterableDataset<bool>: use IterableDataset<int>, or one of tensors");

 public:
  using SampleType = Sample;

  /// The samples of one shard. Must depend on shard and epoch alone, so that an epoch can be repeated.
  /// @lifetime the data set lives as long as the stream.
  [[nodiscard]] virtual std::unique_ptr<Stream<Sample>> open(const Shard& shard,
                                                             std::int64_t epoch) const = 0;
  /// @param samples of a batch, one or more, in order.
  [[nodiscard]] virtual Batch collate(std::span<const Sample> samples) const {
    return data::collate(samples);
  }
  [[nodiscard]] std::unique_ptr<BatchStream> open_batches(const Shard& shard,
                                                          std::int64_t epoch) const override {
    return std::make_unique<data::detail::CollatedStream<IterableDataset>>(*this, open(shard, epoch));
  }
};

}  // namespace rtrain
