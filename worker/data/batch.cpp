#include <rtrain/batch.h>

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

#include <map>
#include <mutex>

namespace rtrain {
namespace {

/// One for each GPU, for as long as the process lives. Any thread's copies may go through it: they are in
/// line with each other, and each with the stream that will read it.
c10::Stream copy_stream(torch::Device device) {
  static auto* const mutex = new std::mutex;  // outlives static destruction
  static auto* const streams = new std::map<c10::DeviceIndex, c10::Stream>;
  const std::lock_guard lock(*mutex);
  auto found = streams->find(device.index());
  if (found == streams->end())
    found = streams
                ->emplace(device.index(),
                          c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device))
                .first;
  return found->second;
}

bool is_on_cpu(const torch::Tensor& tensor) { return tensor.defined() && tensor.is_cpu(); }
bool is_on(const torch::Tensor& tensor, torch::Device device) {
  return !tensor.defined() || tensor.device() == device;
}

}  // namespace

Batch Batch::to(torch::Device device, bool non_blocking) const {
  const bool later = non_blocking && !device.is_cpu();
  const auto moved = [&](const torch::Tensor& tensor) {
    return tensor.defined() ? tensor.to(device, later) : tensor;
  };
  if (!later || !device.is_cuda()) return {moved(input), moved(target)};
  const c10::impl::VirtualGuardImpl cuda(device.type());
  if (!device.has_index()) device = cuda.getDevice();
  // Between GPUs PyTorch orders the streams of both itself.
  const bool from_cpu = is_on_cpu(input) || is_on_cpu(target);
  if (!from_cpu || !(is_on_cpu(input) || is_on(input, device)) ||
      !(is_on_cpu(target) || is_on(target, device)))
    return {moved(input), moved(target)};

  const auto computes = cuda.getStream(device);
  const auto copies = copy_stream(device);
  Batch there;
  {
    const c10::StreamGuard guard(copies);
    there = {moved(input), moved(target)};
  }
  c10::Event copied(device.type());
  copied.record(copies);
  copied.block(computes);
  // Their memory is the copying stream's: it is not to be given to the next batch before the computing is
  // done with it.
  if (is_on_cpu(input)) there.input.record_stream(computes);
  if (is_on_cpu(target)) there.target.record_stream(computes);
  return there;
}

}  // namespace rtrain
