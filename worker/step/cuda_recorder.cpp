// Steps as CUDA graphs. The only file that includes ATen/cuda/CUDAGraph.h.
#include "worker/step/recorder.h"

#ifdef RTRAIN_WITH_NCCL  // a LibTorch with CUDA, and its headers
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#endif

#include <utility>

namespace rtrain {
namespace {

MakeRecorder replaced = nullptr;

#ifdef RTRAIN_WITH_NCCL

/// A stream from the pool instead of the current one: the default stream cannot be captured. Through c10's
/// own interface, because the inline code of CUDAEvent would want the CUDA runtime to link.
class SideStream {
 public:
  explicit SideStream(torch::Device device)
      : cuda_(device.type()), before_(cuda_.getStream(device)), side_(cuda_.getStreamFromGlobalPool(device)) {
    order(before_, side_);
    cuda_.exchangeStream(side_);
  }
  ~SideStream() {
    try {
      cuda_.exchangeStream(before_);
      order(side_, before_);
    } catch (const c10::Error&) {
      // The device has failed, and each later call says so.
    }
  }
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

 private:
  static void order(const c10::Stream& first, const c10::Stream& second) {
    c10::Event done(first.device_type());
    done.record(first);
    done.block(second);
  }
  c10::impl::VirtualGuardImpl cuda_;
  c10::Stream before_, side_;
};

class CudaRecording final : public Recorder::Recording {
 public:
  explicit CudaRecording(std::unique_ptr<at::cuda::CUDAGraph> graph) : graph_(std::move(graph)) {}
  void replay() override { graph_->replay(); }

 private:
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
};

class CudaRecorder final : public Recorder {
 public:
  explicit CudaRecorder(torch::Device device) : device_(device), pool_(at::cuda::graph_pool_handle()) {}

  std::shared_ptr<void> stream() override { return std::make_shared<SideStream>(device_); }

  std::unique_ptr<Recording> record(const std::function<void()>& body) override {
    // As torch.cuda.graph: nothing is under way, and the pool of the graphs can have what nobody uses.
    c10::cuda::device_synchronize();
    c10::cuda::CUDACachingAllocator::emptyCache();
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    // Other threads go on meanwhile: loaders pin memory, NCCL's watchdog looks at its events.
    graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
    try {
      body();
    } catch (...) {
      try {
        graph->capture_end();
      } catch (const c10::Error&) {
        // It says that the capture is not valid; what made it so is on its way.
      }
      throw;
    }
    graph->capture_end();
    return std::make_unique<CudaRecording>(std::move(graph));
  }

 private:
  torch::Device device_;
  at::cuda::MempoolId_t pool_;  ///< of all graphs: one runs at a time, and what it gives is copied at once
};

#endif

}  // namespace

std::shared_ptr<Recorder> make_recorder(torch::Device device) {
  if (replaced != nullptr) return replaced(device);
#ifdef RTRAIN_WITH_NCCL
  if (device.is_cuda())
    return std::make_shared<CudaRecorder>(
        device.has_index() ? device : torch::Device(torch::kCUDA, c10::cuda::current_device()));
#endif
  (void)device;
  return nullptr;
}

MakeRecorder replace_make_recorder(MakeRecorder make) { return std::exchange(replaced, make); }

}  // namespace rtrain
