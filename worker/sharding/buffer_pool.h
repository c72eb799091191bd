// Memory for whole units and their gradients, kept from one use to the next.
#pragma once

#include <c10/core/Allocator.h>
#include <torch/types.h>

#include <cstddef>
#include <map>

namespace rtrain::sharding {

/// Fresh pages cost a fault for each 4 KiB, which is more than the copy into them, so a few freed buffers are
/// kept. On a GPU a buffer may be given back while kernels that read it are queued: whatever writes it next
/// is ordered after them, because both are on the current stream or on one that waits for it.
/// @thread one at a time.
class BufferPool {
 public:
  /// @param kept_max buffers that are kept. 0: none.
  BufferPool(torch::Device device, std::size_t kept_max) : device_(device), kept_max_(kept_max) {}

  [[nodiscard]] c10::DataPtr take(std::size_t bytes);
  void give_back(std::size_t bytes, c10::DataPtr buffer);
  /// A one-dimensional tensor whose memory goes back with recycle().
  [[nodiscard]] torch::Tensor tensor(std::int64_t numel, torch::ScalarType type);
  /// @param tensor of tensor(), without views that are still read.
  void recycle(torch::Tensor& tensor);

 private:
  torch::Device device_;
  std::size_t kept_max_;
  std::multimap<std::size_t, c10::DataPtr> kept_;
};

}  // namespace rtrain::sharding
