#include <rtrain/context.h>
#include <rtrain/data/data_loader.h>
#include <rtrain/data/iterable_dataset.h>

#include "worker/data/draws.h"
#include "worker/data/loader_stream.h"
#include "worker/data/ordered_batches.h"
#include "worker/data/stream_reader.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <typeinfo>

// Of the OpenMP runtime LibTorch brings, if it was built with one. at::set_num_threads() would not do: it
// changes every thread.
extern "C" void omp_set_num_threads(int) __attribute__((weak));

namespace rtrain {
namespace {

/// The calling thread runs ATen's operators alone: the cores belong to the training thread.
void run_operators_on_one_thread() {
  (void)at::get_num_threads();  // makes ATen's own setting of this thread happen first
  if (omp_set_num_threads != nullptr) omp_set_num_threads(1);
}

/// The samples of a batch sampler's batches in their order, for those who count samples.
class SamplesOfBatches final : public Sampler {
 public:
  explicit SamplesOfBatches(std::shared_ptr<BatchSampler> batches) : batches_(std::move(batches)) {}
  [[nodiscard]] std::vector<std::int64_t> indices() const override {
    std::vector<std::int64_t> all;
    for (const auto& batch : batches_->batches()) all.insert(all.end(), batch.begin(), batch.end());
    return all;
  }
  [[nodiscard]] std::int64_t size() const override { return static_cast<std::int64_t>(indices().size()); }
  void set_epoch(std::int64_t epoch) override { batches_->set_epoch(epoch); }

 private:
  std::shared_ptr<BatchSampler> batches_;
};

[[noreturn]] void refuse_loader(const std::string& why) { throw std::invalid_argument("DataLoader: " + why); }

void require_threads(const DataLoaderOptions& options) {
  constexpr int kThreadsMax = 1024, kAheadMax = 1 << 16;
  if (options.num_workers < 0 || options.num_workers > kThreadsMax)
    refuse_loader("num_workers is " + std::to_string(options.num_workers) + ", expected 0 to " +
                  std::to_string(kThreadsMax) + " (0: the thread that calls next() makes the batches)");
  if (options.prefetch_factor && options.num_workers == 0)
    refuse_loader("prefetch_factor is for the threads of num_workers, which is 0: leave it out");
  if (options.prefetch_factor && (*options.prefetch_factor < 1 || *options.prefetch_factor > kAheadMax))
    refuse_loader("prefetch_factor is " + std::to_string(*options.prefetch_factor) + ", expected 1 to " +
                  std::to_string(kAheadMax) + " (num_workers = 0 prepares nothing ahead)");
  if (!std::isfinite(options.timeout_s) || options.timeout_s < 0 || options.timeout_s > 1e9)
    refuse_loader("timeout_s is " + std::to_string(options.timeout_s) + ", expected 0 (none) to 1e9 seconds");
  if (options.timeout_s > 0 && options.num_workers == 0)
    refuse_loader(
        "timeout_s needs num_workers of 1 or more: next() cannot leave a batch that it makes itself");
}

/// What runs first in each thread of a loader that the calling thread reads.
std::function<void()> beginning() {
  return [stream = data::LoaderStream()] {
    run_operators_on_one_thread();
    stream.begin_thread();
  };
}

std::int64_t ahead_of_each(const DataLoaderOptions& options) { return options.prefetch_factor.value_or(2); }

/// Of a batch sampler: a wrong count would end an epoch early, or be a step that other ranks do not take.
void require_batches(const std::vector<std::vector<std::int64_t>>& batches, std::int64_t size,
                     std::int64_t epoch) {
  if (static_cast<std::int64_t>(batches.size()) != size)
    throw std::runtime_error("DataLoader: batch_sampler gives " + std::to_string(batches.size()) +
                             " batches in epoch " + std::to_string(epoch) + ", but its size() is " +
                             std::to_string(size) + ": it must be the same in every epoch");
  for (std::size_t i = 0; i < batches.size(); ++i)
    if (batches[i].empty())
      throw std::runtime_error("DataLoader: batch " + std::to_string(i) +
                               " of the batch_sampler is empty in epoch " + std::to_string(epoch));
}

}  // namespace

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, DataLoaderOptions options)
    : dataset_(std::move(dataset)), options_(std::move(options)) {
  if (dataset_ == nullptr) refuse_loader("no data set given");
  if (options_.batch_size < 1)
    refuse_loader("batch_size is " + std::to_string(options_.batch_size) + ", expected 1 or more");
  require_threads(options_);
  if (options_.stream_end != StreamEnd::kStop)
    refuse_loader(
        "stream_end is of an IterableDataset; a sampler gives all ranks as many batches: leave it out");
  if (options_.shuffle && options_.sampler != nullptr)
    refuse_loader("shuffle and sampler exclude each other (the sampler decides the order)");
  if (options_.batch_sampler != nullptr) {
    if (options_.batch_size != 1 || options_.shuffle || options_.sampler != nullptr || options_.drop_last)
      refuse_loader(
          "batch_sampler excludes batch_size, shuffle, sampler and drop_last (it decides all of them)");
    const auto& batches = *options_.batch_sampler;
    if (typeid(batches) != typeid(BatchSampler)) {
      sampler_ = std::make_shared<SamplesOfBatches>(options_.batch_sampler);
      return;
    }
    options_.batch_size = batches.batch_size();
    options_.drop_last = batches.drop_last();
    options_.sampler = batches.sampler();
    options_.batch_sampler = nullptr;
  }
  if (options_.sampler != nullptr) {
    sampler_ = options_.sampler;
  } else if (options_.shuffle) {
    sampler_ = std::make_shared<RandomSampler>(dataset_->size(), options_.seed);
  } else {
    sampler_ = std::make_shared<SequentialSampler>(dataset_->size());
  }
}

DataLoader::DataLoader(std::shared_ptr<const StreamDataset> stream, DataLoaderOptions options)
    : stream_(std::move(stream)), options_(std::move(options)) {
  if (stream_ == nullptr) refuse_loader("no data set given");
  if (options_.batch_size < 1)
    refuse_loader("batch_size is " + std::to_string(options_.batch_size) + ", expected 1 or more");
  require_threads(options_);
  if (options_.residency != Residency::kHost)
    refuse_loader(
        "residency is of data sets whose samples are all in memory; an IterableDataset has none: "
        "leave it out");
  if (options_.shuffle || options_.sampler != nullptr || options_.batch_sampler != nullptr)
    refuse_loader(
        "an IterableDataset decides its order itself: shuffle, sampler and batch_sampler have nothing to act "
        "on; leave them out");
}

Sampler& DataLoader::sampler() const {
  if (sampler_ == nullptr)
    throw std::logic_error(is_stream() ? "DataLoader: an IterableDataset has no sampler"
                                       : "DataLoader: it has no data set, and no sampler");
  return *sampler_;
}

DataLoader DataLoader::with_ranks(int rank, int ranks) const {
  if (ranks < 1 || rank < 0 || rank >= ranks)
    refuse_loader("rank " + std::to_string(rank) + " is outside [0, " + std::to_string(ranks) + ")");
  auto loader = *this;
  loader.rank_ = rank;
  loader.ranks_ = ranks;
  return loader;
}

std::int64_t DataLoader::size() const {
  if (!defined()) return 0;
  if (is_stream()) {
    const auto samples = stream_->size();
    if (!samples) return kUnknownBatches;
    return data::batches_of((std::max<std::int64_t>(0, *samples) + ranks_ - 1) / ranks_, options_.batch_size,
                            options_.drop_last);
  }
  if (options_.batch_sampler != nullptr) return options_.batch_sampler->size();
  return data::batches_of(sampler_->size(), options_.batch_size, options_.drop_last);
}

DataLoader DataLoader::with_sampler(std::shared_ptr<Sampler> sampler) const {
  auto options = options_;
  options.shuffle = false;
  options.batch_sampler = nullptr;
  options.sampler = std::move(sampler);
  return {dataset_, std::move(options)};
}

DataLoader DataLoader::with_batch_sampler(std::shared_ptr<BatchSampler> batch_sampler) const {
  auto options = options_;
  options.batch_size = 1;
  options.shuffle = options.drop_last = false;
  options.sampler = nullptr;
  options.batch_sampler = std::move(batch_sampler);
  return {dataset_, std::move(options)};
}

DataLoader DataLoader::with_dataset(std::shared_ptr<const Dataset> dataset) const {
  if (is_stream() || dataset == nullptr || dataset_ == nullptr || dataset->size() != dataset_->size())
    refuse_loader("with_dataset() takes a data set of the same size, of a loader that has one");
  auto loader = *this;
  loader.dataset_ = std::move(dataset);
  return loader;
}

struct DataLoader::Iterator::Impl {
  std::shared_ptr<const Dataset> dataset;
  SampleContext context;
  std::vector<std::int64_t> order;                 ///< of all samples, cut into batches of batch_size
  std::vector<std::vector<std::int64_t>> batches;  ///< of a batch sampler, in place of order
  std::int64_t batch_size = 1;
  bool pin_memory = false;
  std::int64_t next_batch = 0, end = 0;  ///< of the caller's thread, without others

  std::unique_ptr<data::StreamReader> stream;  ///< in place of all others
  std::unique_ptr<data::OrderedBatches> made;  ///< last: its threads read what is above

  [[nodiscard]] std::span<const std::int64_t> samples_of(std::int64_t batch) const {
    if (!batches.empty()) return batches[static_cast<std::size_t>(batch)];
    const auto begin = static_cast<std::size_t>(batch * batch_size);
    return std::span(order).subspan(begin,
                                    std::min(static_cast<std::size_t>(batch_size), order.size() - begin));
  }

  [[nodiscard]] Batch make(std::int64_t number) const {
    const torch::NoGradGuard no_grad;
    auto batch = dataset->get_batch(samples_of(number), context);
    return pin_memory ? batch.pin_memory() : batch;
  }
};

DataLoader::Iterator::Iterator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DataLoader::Iterator::Iterator(Iterator&&) noexcept = default;
DataLoader::Iterator& DataLoader::Iterator::operator=(Iterator&&) noexcept = default;
DataLoader::Iterator::~Iterator() = default;

std::optional<Batch> DataLoader::Iterator::next() {
  if (impl_->stream != nullptr) return impl_->stream->next();
  if (impl_->next_batch >= impl_->end) return std::nullopt;
  auto batch = impl_->made != nullptr ? impl_->made->take() : impl_->make(impl_->next_batch);
  ++impl_->next_batch;
  if (impl_->made != nullptr && batch) data::hand_over(*batch);
  return batch;
}

bool DataLoader::Iterator::is_made() const {
  return impl_->made != nullptr && impl_->next_batch < impl_->end && impl_->made->is_ready();
}

bool DataLoader::Iterator::has_next() {
  return impl_->stream != nullptr ? impl_->stream->has_next() : impl_->next_batch < impl_->end;
}

nlohmann::json DataLoader::Iterator::save_state() const {
  return impl_->stream != nullptr ? impl_->stream->save_state() : nlohmann::json();
}

DataLoader::Iterator DataLoader::read_stream(std::int64_t epoch, const nlohmann::json& state) const {
  auto impl = std::make_unique<Iterator::Impl>();
  impl->stream =
      std::make_unique<data::StreamReader>(stream_,
                                           data::StreamReaderOptions{.batch_size = options_.batch_size,
                                                                     .drop_last = options_.drop_last,
                                                                     .pin_memory = options_.pin_memory,
                                                                     .num_workers = options_.num_workers,
                                                                     .ahead = ahead_of_each(options_),
                                                                     .timeout_s = options_.timeout_s,
                                                                     .rank = rank_,
                                                                     .ranks = ranks_,
                                                                     .seed = options_.seed,
                                                                     .epoch = epoch},
                                           state, beginning());
  return Iterator(std::move(impl));
}

DataLoader::Iterator DataLoader::resume(std::int64_t epoch, const nlohmann::json& state) const {
  if (!is_stream()) refuse_loader("resume() is for streams; epoch(epoch, first) begins at a batch");
  return read_stream(epoch, state);
}

DataLoader::Iterator DataLoader::epoch(std::int64_t epoch, std::int64_t first) const {
  auto impl = std::make_unique<Iterator::Impl>();
  if (!defined()) return Iterator(std::move(impl));
  if (first < 0) refuse_loader("the first batch is " + std::to_string(first) + ", expected 0 or more");
  if (is_stream()) {
    auto iterator = read_stream(epoch, nullptr);
    for (std::int64_t i = 0; i < first && iterator.next(); ++i) {
    }
    return iterator;
  }
  sampler_->set_epoch(epoch);
  impl->dataset = dataset_;
  impl->context = {.seed = options_.seed, .epoch = epoch};
  impl->batch_size = options_.batch_size;
  impl->pin_memory = options_.pin_memory;
  impl->next_batch = first;
  impl->end = size();
  if (options_.batch_sampler != nullptr) {
    impl->batches = options_.batch_sampler->batches();
    require_batches(impl->batches, impl->end, epoch);
  } else {
    impl->order = sampler_->indices();
  }
  if (options_.num_workers > 0 && first < impl->end) {
    const auto* raw = impl.get();
    impl->made = std::make_unique<data::OrderedBatches>(
        data::OrderedBatchesOptions{.first = first,
                                    .end = impl->end,
                                    .threads = options_.num_workers,
                                    .ahead = std::int64_t{options_.num_workers} * ahead_of_each(options_),
                                    .timeout_s = options_.timeout_s},
        [raw](std::int64_t number) {
          auto batch = raw->make(number);
          data::finish(batch);
          return batch;
        },
        beginning());
  }
  return Iterator(std::move(impl));
}

}  // namespace rtrain
