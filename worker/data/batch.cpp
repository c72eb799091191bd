#include <rtrain/batch.h>

#include "worker/data/lead.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Type.h>
#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace rtrain {

void Batch::refuse(const std::type_info* held, const std::type_info& asked) {
  throw std::logic_error(
      "the batch holds " +
      (held == nullptr ? "no value beside input and target" : c10::demangle(held->name())) + ", asked for " +
      c10::demangle(asked.name()));
}

void Batch::for_each_tensor(const std::function<void(torch::Tensor&)>& visit) {
  if (input.defined()) visit(input);
  if (target.defined()) visit(target);
  if (!held_) return;
  if (held_.use_count() > 1) held_ = held_->copy();
  held_->visit(visit);
}

void Batch::for_each_tensor(const std::function<void(const torch::Tensor&)>& visit) const {
  if (input.defined()) visit(input);
  if (target.defined()) visit(target);
  if (held_) held_->visit([&](torch::Tensor& tensor) { visit(std::as_const(tensor)); });
}

std::int64_t Batch::size() const {
  std::int64_t size = -1;
  for_each_tensor([&](const torch::Tensor& tensor) {
    if (size < 0) size = tensor.dim() > 0 ? tensor.size(0) : 1;
  });
  return std::max<std::int64_t>(size, 0);
}

bool Batch::empty() const {
  bool empty = true;
  for_each_tensor([&](const torch::Tensor&) { empty = false; });
  return empty;
}

Batch Batch::pin_memory() const {
  Batch pinned = *this;
  pinned.for_each_tensor([](torch::Tensor& tensor) {
    if (tensor.is_cpu()) tensor = tensor.pin_memory();
  });
  return pinned;
}

namespace {

/// The way of the CPU's batches to one GPU. Any thread's copies may go through it: they are in line with each
/// other, and each with the stream that will read it.
struct CopyLane {
  explicit CopyLane(c10::Stream copies) : stream(copies) {}
  c10::Stream stream;
  data::Lead<c10::Event> lead;
};

/// One for each GPU, for as long as the process lives.
CopyLane& copy_lane(torch::Device device) {
  static auto* const mutex = new std::mutex;  // outlives static destruction
  static auto* const lanes = new std::map<c10::DeviceIndex, CopyLane>;
  const std::lock_guard lock(*mutex);
  auto found = lanes->find(device.index());
  if (found == lanes->end())
    found = lanes
                ->try_emplace(device.index(),
                              c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device))
                .first;
  return found->second;
}

void move_all(Batch& batch, torch::Device device, bool later) {
  batch.for_each_tensor([&](torch::Tensor& tensor) { tensor = tensor.to(device, later); });
}

}  // namespace

Batch Batch::to(torch::Device device, bool non_blocking) const {
  const bool later = non_blocking && !device.is_cpu();
  Batch there = *this;
  if (!later || !device.is_cuda()) return move_all(there, device, later), there;
  const c10::impl::VirtualGuardImpl cuda(device.type());
  if (!device.has_index()) device = cuda.getDevice();
  // Between GPUs PyTorch orders the streams of both itself.
  bool from_cpu = false, from_elsewhere = false;
  for_each_tensor([&](const torch::Tensor& tensor) {
    from_cpu = from_cpu || tensor.is_cpu();
    from_elsewhere = from_elsewhere || (!tensor.is_cpu() && tensor.device() != device);
  });
  if (!from_cpu || from_elsewhere) return move_all(there, device, later), there;

  const auto computes = cuda.getStream(device);
  auto& lane = copy_lane(device);
  const auto copies = lane.stream;
  c10::Event queued(device.type());
  queued.record(computes);
  lane.lead.advance(std::move(queued));
  {
    const c10::StreamGuard guard(copies);
    there.for_each_tensor([&](torch::Tensor& tensor) {
      if (!tensor.is_cpu()) return;
      tensor = tensor.to(device, later);
      // Its memory is the copying stream's: it is not to be given to the next batch before the computing is
      // done with it.
      tensor.record_stream(computes);
    });
  }
  c10::Event copied(device.type());
  copied.record(copies);
  copied.block(computes);
  return there;
}

const Batch& Nested::operator[](std::string_view name) const {
  std::string known;
  for (const auto& [own, batch] : items) {
    if (own == name) return batch;
    known += (known.empty() ? "" : ", ") + own;
  }
  throw std::out_of_range("the batch has no \"" + std::string(name) + "\"; it has " +
                          (known.empty() ? "nothing" : known));
}

}  // namespace rtrain
