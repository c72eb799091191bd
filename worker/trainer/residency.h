// Data sets that lie in the memory of the GPU while a run reads them.
#pragma once

#include <rtrain/data/data_loader.h>

#include <cstdint>
#include <map>
#include <memory>

namespace rtrain {

/// True if so many bytes may lie in a device's memory for a run: less than a fifth of what is free.
[[nodiscard]] constexpr bool may_reside(std::int64_t bytes, std::int64_t free_bytes) {
  return bytes > 0 && bytes < free_bytes / 5;
}

/// Bytes that are free on a device; 0: nobody knows, or it is the CPU.
using FreeMemory = std::int64_t (*)(torch::Device device);
RTRAIN_API FreeMemory
replace_free_memory(FreeMemory of);  ///< for tests; null: that of the GPU. @return the one before

/// The copies on a device, as long as somebody reads them. @thread the training thread.
class RTRAIN_API ResidentData {
 public:
  /// The loader with its samples on `device`, if its options ask for it and there is room; else as it is.
  [[nodiscard]] DataLoader bring(const DataLoader& loader, torch::Device device);

 private:
  struct Copy {
    std::weak_ptr<const Dataset> original, resident;
  };
  std::map<const Dataset*, Copy> copies_;
};

}  // namespace rtrain
