#include "worker/checkpoint/snapshot.h"

#include "worker/runtime/block_signals.h"

#include <torch/torch.h>

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>

namespace rtrain {

torch::Tensor HostBuffers::take(std::int64_t bytes, bool pinned) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = free_.find({bytes, pinned}); found != free_.end()) {
      auto buffer = std::move(found->second);
      free_.erase(found);
      return buffer;
    }
  }
  return torch::empty({bytes}, torch::dtype(torch::kUInt8).pinned_memory(pinned));
}

void HostBuffers::give_back(torch::Tensor buffer, bool pinned) {
  const std::lock_guard lock(mutex_);
  const auto bytes = buffer.numel();
  free_.emplace(std::pair(bytes, pinned), std::move(buffer));
}

void HostBuffers::clear() {
  const std::lock_guard lock(mutex_);
  free_.clear();
}

/// The copies of one device.
struct Snapshot::OnDevice {
  explicit OnDevice(torch::Device of)
      : device(of),
        guard(of.type()),
        side(guard.getStreamFromGlobalPool(of, /*isHighPriority=*/true)),  // never one that is captured
        copied(of.type()) {}
  [[nodiscard]] c10::Stream current() const { return guard.getStream(device); }
  torch::Device device;
  c10::impl::VirtualGuardImpl guard;
  c10::Stream side;
  c10::Event copied;
  std::vector<torch::Tensor> held;  ///< the sources: nobody else gets their memory while it is read
  std::vector<Watched> watched;     ///< until settle()
};

torch::Tensor Snapshot::buffer_for(const torch::Tensor& tensor, bool pinned) {
  auto bytes = buffers_->take(static_cast<std::int64_t>(tensor.nbytes()), pinned);
  taken_.emplace_back(bytes, pinned);
  return bytes.view(tensor.scalar_type()).view(tensor.sizes());
}

Snapshot::Snapshot(SaveFiles files, const std::set<const void*>& stable, std::shared_ptr<HostBuffers> buffers)
    : files_(std::move(files)), buffers_(std::move(buffers)) {
  const torch::NoGradGuard no_grad;
  for_each_tensor([&](const std::string& name, torch::Tensor& tensor) {
    // Of what cannot be copied like this the writer says what is wrong with it.
    if (!tensor.defined() || tensor.layout() != torch::kStrided) return;
    tensor = tensor.detach();
    if (tensor.numel() == 0) {
      tensor = tensor.to(torch::kCPU, /*non_blocking=*/false, /*copy=*/true);
    } else if (!tensor.is_cpu()) {
      if (!device_ && tensor.is_cuda()) device_ = std::make_unique<OnDevice>(tensor.device());
      if (!device_ || tensor.device() != device_->device) tensor = tensor.cpu();
    } else {
      auto to = buffer_for(tensor, false);
      if (stable.contains(tensor.const_data_ptr()) && tensor.is_contiguous() && !tensor.is_inference())
        later_.push_back({name, tensor, to, tensor._version()});
      else
        to.copy_(tensor);
      tensor = std::move(to);
    }
  });
  if (device_) copy_on_device(stable);
  if (later_.empty()) return;
  copied_ = false;
  copier_ = std::thread([this] {
    runtime::block_signals();
    copy_on_cpu();
  });
}

void Snapshot::for_each_tensor(
    const std::function<void(const std::string& name, torch::Tensor& tensor)>& visit) {
  for (auto& file : files_.tensors)
    for (auto& [name, tensor] : file.second.tensors) visit(name, tensor);
  for (auto& file : files_.shared)
    for (auto& [name, piece] : file.second.tensors) visit(name, piece.tensor);
}

void Snapshot::copy_on_device(const std::set<const void*>& stable) {
  std::vector<std::pair<const std::string*, torch::Tensor*>> later;
  const auto copy = [this](torch::Tensor& tensor) {
    auto to = buffer_for(tensor, true);
    const auto from = tensor.contiguous();
    to.copy_(from, /*non_blocking=*/true);
    device_->held.push_back(tensor);
    device_->held.push_back(from);
    tensor = std::move(to);
  };
  for_each_tensor([&](const std::string& name, torch::Tensor& tensor) {
    if (!tensor.defined() || tensor.layout() != torch::kStrided || !tensor.is_cuda()) return;
    if (stable.contains(tensor.const_data_ptr()) && !tensor.is_inference())
      later.emplace_back(&name, &tensor);
    else
      copy(tensor);  // on the current stream: before what follows
  });
  c10::Event before(device_->device.type());
  before.record(device_->current());
  before.block(device_->side);
  const c10::StreamGuard on_side(device_->side);
  for (const auto& [name, tensor] : later) {
    device_->watched.push_back({*name, *tensor, {}, tensor->_version()});
    copy(*tensor);
  }
  device_->copied.record(device_->side);
}

void Snapshot::look_for_changes(const std::vector<Watched>& all) {
  for (const auto& watched : all) {
    if (changed_too_early_.empty() && watched.from._version() != watched.version)
      changed_too_early_ = watched.name;
  }
}

void Snapshot::copy_on_cpu() {
  for (const auto& copy : later_)
    std::memcpy(copy.to.mutable_data_ptr(), copy.from.const_data_ptr(), copy.from.nbytes());
  const std::lock_guard lock(mutex_);
  look_for_changes(later_);
  later_.clear();
  copied_ = true;
  changed_.notify_all();
}

void Snapshot::settle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return copied_; });
  if (!device_) return;
  look_for_changes(device_->watched);
  device_->watched.clear();
  device_->copied.block(device_->current());
}

const SaveFiles& Snapshot::files() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return copied_; });
  if (device_) {
    lock.unlock();
    device_->copied.synchronize();
    lock.lock();
    look_for_changes(device_->watched);  // those that settle() has not looked at
    device_->watched.clear();
    device_->held.clear();
  }
  if (!changed_too_early_.empty())
    throw std::runtime_error("the save is not of one moment: \"" + changed_too_early_ +
                             "\" was changed after save_checkpoint() and before the next optimizer step; "
                             "what changes it must call Trainer::wait_for_snapshot() before");
  return files_;
}

Snapshot::~Snapshot() {
  if (copier_.joinable()) copier_.join();
  if (device_) device_->copied.synchronize();
  files_ = {};
  for (auto& [buffer, pinned] : taken_) buffers_->give_back(std::move(buffer), pinned);
}

}  // namespace rtrain
