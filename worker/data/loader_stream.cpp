#include "worker/data/loader_stream.h"

#include "worker/data/device_lead.h"

#include <rtrain/context.h>

#include <c10/core/impl/VirtualGuardImpl.h>

#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace rtrain::data {
namespace {

using c10::impl::VirtualGuardImpl;

/// The streams that no thread has now. They are few: the allocator keeps memory for each stream that ever
/// used it.
class FreeStreams {
 public:
  c10::Stream take(torch::Device device) {
    const std::lock_guard lock(mutex_);
    auto& free = by_device_[device.index()];
    // Of high priority, so that it is never the one that a graph is captured on: that is from the other pool.
    if (free.empty())
      return VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device, /*isHighPriority=*/true);
    const auto stream = free.back();
    free.pop_back();
    return stream;
  }
  void give_back(c10::Stream stream) {
    const std::lock_guard lock(mutex_);
    by_device_[stream.device_index()].push_back(stream);
  }

 private:
  std::mutex mutex_;
  std::map<c10::DeviceIndex, std::vector<c10::Stream>> by_device_;
};

FreeStreams& free_streams() {
  static auto* const streams = new FreeStreams;  // outlives threads that end with the process
  return *streams;
}

/// Until the thread ends.
class OwnStream {
 public:
  explicit OwnStream(torch::Device device) : stream_(free_streams().take(device)) {}
  ~OwnStream() { free_streams().give_back(stream_); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  [[nodiscard]] c10::Stream stream() const { return stream_; }

 private:
  c10::Stream stream_;
};

template <class Visit>
void for_each_on_gpu(const Batch& batch, Visit visit) {
  batch.for_each_tensor([&](const torch::Tensor& tensor) {
    if (tensor.is_cuda()) visit(tensor, VirtualGuardImpl(tensor.device().type()).getStream(tensor.device()));
  });
}

}  // namespace

LoaderStream::LoaderStream() {
  if (!get_device().is_cuda()) return;
  try {
    const VirtualGuardImpl cuda(c10::DeviceType::CUDA);
    auto queued = std::make_shared<c10::Event>(c10::DeviceType::CUDA);
    queued->record(cuda.getStream(cuda.getDevice()));
    queued_ = std::move(queued);
  } catch (const c10::Error&) {
    // A GPU that the node only declares: the data cannot be on it.
  }
}

void LoaderStream::begin_thread() const {
  if (queued_ == nullptr) return;
  const torch::Device device(c10::DeviceType::CUDA, queued_->device_index());
  thread_local std::optional<OwnStream> own;
  own.emplace(device);
  const VirtualGuardImpl cuda(device.type());
  cuda.setDevice(device);  // a new thread has GPU 0, whatever its maker has
  cuda.exchangeStream(own->stream());
  queued_->block(own->stream());
}

void finish(const Batch& batch) {
  for_each_on_gpu(batch, [](const torch::Tensor&, const c10::Stream& stream) { stream.synchronize(); });
}

void hand_over(const Batch& batch) {
  std::optional<c10::Stream> reads;
  for_each_on_gpu(batch, [&](const torch::Tensor& tensor, const c10::Stream& stream) {
    tensor.record_stream(stream);
    reads = stream;
  });
  if (reads) keep_lead(*reads);
}

}  // namespace rtrain::data
