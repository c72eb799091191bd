#include "worker/sharding/buffer_pool.h"

#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/StorageImpl.h>

#include <utility>

namespace rtrain::sharding {

c10::DataPtr BufferPool::take(std::size_t bytes) {
  // One that is up to a quarter too large is better than fresh memory.
  if (const auto found = kept_.lower_bound(bytes);
      found != kept_.end() && found->first <= bytes + bytes / 4) {
    auto buffer = std::move(found->second);
    kept_.erase(found);
    return buffer;
  }
  const c10::DeviceGuard guard(device_);
  return c10::GetAllocator(device_.type())->allocate(bytes);
}

void BufferPool::give_back(std::size_t bytes, c10::DataPtr buffer) {
  if (kept_max_ == 0 || !buffer) return;
  kept_.emplace(bytes, std::move(buffer));
  while (kept_.size() > kept_max_) kept_.erase(kept_.begin());
}

torch::Tensor BufferPool::tensor(std::int64_t numel, torch::ScalarType type) {
  const auto bytes = static_cast<std::size_t>(numel) * c10::elementSize(type);
  auto storage =
      c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), bytes, take(bytes),
                                            c10::GetAllocator(device_.type()), /*resizable=*/false);
  return at::empty({0}, at::TensorOptions(device_).dtype(type))
      .set_(c10::Storage(std::move(storage)), 0, {numel}, {1});
}

void BufferPool::recycle(torch::Tensor& tensor) {
  if (!tensor.defined()) return;
  auto* storage = tensor.storage().unsafeGetStorageImpl();
  const auto bytes = storage->nbytes();
  give_back(bytes, storage->set_data_ptr(c10::DataPtr(nullptr, device_)));
  tensor.reset();
}

}  // namespace rtrain::sharding
