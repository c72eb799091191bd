#include <rtrain/batch.h>

#include "worker/data/device_lead.h"

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
#include <vector>

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

/// The way of the CPU's batches to one GPU: a stream for as long as the process lives. Any thread's copies
/// may go through it: they are in line with each other, and each with the stream that will read it.
c10::Stream copy_lane(torch::Device device) {
  static auto* const mutex = new std::mutex;  // outlives static destruction
  static auto* const lanes = new std::map<c10::DeviceIndex, c10::Stream>;
  const std::lock_guard lock(*mutex);
  auto found = lanes->find(device.index());
  if (found == lanes->end())
    found = lanes
                ->try_emplace(device.index(),
                              // of high priority: never the stream that a graph is captured on
                              c10::impl::VirtualGuardImpl(device.type())
                                  .getStreamFromGlobalPool(device, /*isHighPriority=*/true))
                .first;
  return found->second;
}

void move_all(Batch& batch, torch::Device device, bool later) {
  batch.for_each_tensor([&](torch::Tensor& tensor) { tensor = tensor.to(device, later); });
}

}  // namespace

namespace {

/// The tensors of the CPU on their way through a lane.
class LaneCopy final : public BatchCopy {
 public:
  LaneCopy(Batch batch, torch::Device device)
      : there_(std::move(batch)), device_(device), copied_(device.type()) {
    const auto lane = copy_lane(device_);
    data::keep_lead(current());
    const c10::StreamGuard guard(lane);
    there_.for_each_tensor([&](torch::Tensor& tensor) {
      if (!tensor.is_cpu()) return;
      tensor = tensor.to(device_, /*non_blocking=*/true);
      moved_.push_back(tensor);
    });
    copied_.record(lane);
  }
  [[nodiscard]] Batch finish() override {
    const auto computes = current();
    // Their memory is the copying stream's: it is not to be given to the next batch before the computing is
    // done with it.
    for (const auto& tensor : moved_) tensor.record_stream(computes);
    copied_.block(computes);
    return std::move(there_);
  }

 private:
  [[nodiscard]] c10::Stream current() const {
    return c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  }
  Batch there_;
  torch::Device device_;
  c10::Event copied_;
  std::vector<torch::Tensor> moved_;
};

/// True if tensors of the CPU, and no others but those of `device`, are to come to it.
bool goes_through_lane(const Batch& batch, torch::Device device) {
  bool from_cpu = false, from_elsewhere = false;
  batch.for_each_tensor([&](const torch::Tensor& tensor) {
    from_cpu = from_cpu || tensor.is_cpu();
    from_elsewhere = from_elsewhere || (!tensor.is_cpu() && tensor.device() != device);
  });
  return from_cpu && !from_elsewhere;  // between GPUs PyTorch orders the streams of both itself
}

torch::Device with_index(torch::Device device) {
  return device.has_index() ? device : c10::impl::VirtualGuardImpl(device.type()).getDevice();
}

}  // namespace

Batch Batch::to(torch::Device device, bool non_blocking) const {
  const bool later = non_blocking && !device.is_cpu();
  if (later && device.is_cuda()) {
    device = with_index(device);
    if (goes_through_lane(*this, device)) return LaneCopy(*this, device).finish();
  }
  Batch there = *this;
  move_all(there, device, later);
  return there;
}

std::unique_ptr<BatchCopy> Batch::start_copy(torch::Device device) const {
  if (!device.is_cuda()) return nullptr;
  device = with_index(device);
  bool pinned = true;  // from other memory the host would wait for the copy
  for_each_tensor(
      [&](const torch::Tensor& tensor) { pinned = pinned && (!tensor.is_cpu() || tensor.is_pinned()); });
  if (!pinned || !goes_through_lane(*this, device)) return nullptr;
  return std::make_unique<LaneCopy>(*this, device);
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
