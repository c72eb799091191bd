#include "worker/trainer/residency.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

namespace rtrain {
namespace {

std::int64_t free_on_gpu(torch::Device device) {
  if (!device.is_cuda()) return 0;
  const auto index =
      device.has_index() ? device.index() : c10::impl::VirtualGuardImpl(device.type()).getDevice().index();
  return static_cast<std::int64_t>(at::getDeviceAllocator(device.type())->getMemoryInfo(index).first);
}

FreeMemory free_memory = free_on_gpu;

}  // namespace

FreeMemory replace_free_memory(FreeMemory of) {
  return std::exchange(free_memory, of != nullptr ? of : free_on_gpu);
}

DataLoader ResidentData::bring(const DataLoader& loader, torch::Device device) {
  if (loader.is_stream() || loader.options().residency != Residency::kAuto) return loader;
  const auto& dataset = loader.dataset();
  std::erase_if(copies_, [](const auto& copy) { return copy.second.original.expired(); });
  auto& copy = copies_[dataset.get()];
  if (const auto known = copy.resident.lock()) return loader.with_dataset(known);
  if (!may_reside(dataset->resident_bytes(), free_memory(device))) return loader;
  auto resident = dataset->on_device(device);
  copy = {dataset, resident};
  return loader.with_dataset(std::move(resident));
}

}  // namespace rtrain
