#include <rtrain/context.h>
#include <rtrain/data/data_loader.h>

#include <ATen/Parallel.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

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

/// Where the calling thread computes, in a rank that holds a GPU. Elsewhere no call of CUDA is made: it would
/// start the driver.
std::optional<c10::Stream> current_stream() {
  if (!get_device().is_cuda()) return std::nullopt;
  try {
    const c10::impl::VirtualGuardImpl cuda(c10::DeviceType::CUDA);
    return cuda.getStream(cuda.getDevice());
  } catch (const c10::Error&) {
    return std::nullopt;  // a GPU that the node only declares: the data cannot be on it
  }
}

/// The same for this thread, which ends with its work. A new thread has GPU 0 and its default stream,
/// whatever its maker has: a batch that is made on the GPU would not be in line with what reads it.
void compute_on(c10::Stream stream) {
  const c10::impl::VirtualGuardImpl cuda(stream.device_type());
  cuda.setDevice(stream.device());
  cuda.exchangeStream(stream);
}

}  // namespace

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, DataLoaderOptions options)
    : dataset_(std::move(dataset)), options_(std::move(options)) {
  if (dataset_ == nullptr) throw std::invalid_argument("DataLoader: no data set given");
  if (options_.batch_size < 1) {
    throw std::invalid_argument("DataLoader: batch_size is " + std::to_string(options_.batch_size) +
                                ", expected 1 or more");
  }
  if (options_.prefetch < 0) {
    throw std::invalid_argument("DataLoader: prefetch is " + std::to_string(options_.prefetch) +
                                ", expected 0 or more");
  }
  if (options_.shuffle && options_.sampler != nullptr) {
    throw std::invalid_argument(
        "DataLoader: shuffle and sampler exclude each other (the sampler decides the order)");
  }
  if (options_.sampler != nullptr) {
    sampler_ = options_.sampler;
  } else if (options_.shuffle) {
    sampler_ = std::make_shared<RandomSampler>(dataset_->size(), options_.seed);
  } else {
    sampler_ = std::make_shared<SequentialSampler>(dataset_->size());
  }
}

std::int64_t DataLoader::size() const {
  if (!defined()) return 0;
  const auto samples = sampler_->size();
  return options_.drop_last ? samples / options_.batch_size
                            : (samples + options_.batch_size - 1) / options_.batch_size;
}

DataLoader DataLoader::with_sampler(std::shared_ptr<Sampler> sampler) const {
  auto options = options_;
  options.shuffle = false;
  options.sampler = std::move(sampler);
  return {dataset_, std::move(options)};
}

struct DataLoader::Iterator::Impl {
  std::shared_ptr<const Dataset> dataset;
  std::vector<std::int64_t> indices;
  std::int64_t batch_size = 1;
  bool pin_memory = false;
  std::optional<c10::Stream> stream;         ///< the caller's
  std::int64_t next_batch = 0, batches = 0;  ///< the maker's: the thread's, or the caller's without one

  // Below: only with a thread, all but `thread` under `mutex`.
  std::size_t ahead_max = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Batch> ready;
  std::exception_ptr failure;  ///< comes out after the batches made before it
  bool finished = false, stop = false;
  std::thread thread;

  ~Impl() {
    if (!thread.joinable()) return;
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    changed.notify_all();
    thread.join();
  }

  [[nodiscard]] Batch make_next() {
    const auto begin = next_batch * batch_size;
    const auto end = std::min(begin + batch_size, static_cast<std::int64_t>(indices.size()));
    auto batch = dataset->get_batch(
        std::span(indices).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
    if (pin_memory) batch = batch.pin_memory();
    ++next_batch;
    return batch;
  }

  void make_ahead() {
    run_operators_on_one_thread();
    const torch::NoGradGuard no_grad;
    std::exception_ptr error;
    try {
      if (stream) compute_on(*stream);
      while (next_batch < batches) {
        {
          std::unique_lock lock(mutex);
          changed.wait(lock, [this] { return stop || ready.size() < ahead_max; });
          if (stop) return;
        }
        auto batch = make_next();
        {
          const std::lock_guard lock(mutex);
          ready.push_back(std::move(batch));
        }
        changed.notify_all();
      }
    } catch (...) {
      error = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex);
      failure = std::move(error);
      finished = true;
    }
    changed.notify_all();
  }

  [[nodiscard]] std::optional<Batch> take() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return finished || !ready.empty(); });
    if (ready.empty()) {
      if (failure) std::rethrow_exception(failure);
      return std::nullopt;
    }
    auto batch = std::move(ready.front());
    ready.pop_front();
    lock.unlock();
    changed.notify_all();
    return batch;
  }
};

DataLoader::Iterator::Iterator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DataLoader::Iterator::Iterator(Iterator&&) noexcept = default;
DataLoader::Iterator& DataLoader::Iterator::operator=(Iterator&&) noexcept = default;
DataLoader::Iterator::~Iterator() = default;

std::optional<Batch> DataLoader::Iterator::next() {
  if (impl_->thread.joinable()) return impl_->take();
  if (impl_->next_batch >= impl_->batches) return std::nullopt;
  const torch::NoGradGuard no_grad;
  return impl_->make_next();
}

DataLoader::Iterator DataLoader::epoch(std::int64_t epoch, std::int64_t first) const {
  auto impl = std::make_unique<Iterator::Impl>();
  if (!defined()) return Iterator(std::move(impl));
  if (first < 0)
    throw std::invalid_argument("DataLoader: the first batch is " + std::to_string(first) +
                                ", expected 0 or more");
  sampler_->set_epoch(epoch);
  impl->dataset = dataset_;
  impl->indices = sampler_->indices();
  impl->batch_size = options_.batch_size;
  impl->pin_memory = options_.pin_memory;
  impl->next_batch = first;
  impl->batches = size();
  impl->ahead_max = static_cast<std::size_t>(options_.prefetch);
  impl->stream = current_stream();
  if (impl->ahead_max > 0 && impl->next_batch < impl->batches) {
    impl->thread = std::thread([raw = impl.get()] { raw->make_ahead(); });
  }
  return Iterator(std::move(impl));
}

}  // namespace rtrain
