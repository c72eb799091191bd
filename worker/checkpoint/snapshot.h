// A copy of a checkpoint's tensors in host memory, that training does not wait for.
#pragma once

#include "worker/checkpoint/save.h"

#include <rtrain/export.h>

#include <torch/types.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace rtrain {

/// Host memory of snapshots, kept from one save to the next: fresh pages, and pinning them, cost more than
/// the copy. @thread any
class RTRAIN_API HostBuffers {
 public:
  /// `bytes` of uint8, with any content. @param pinned for copies from a GPU.
  [[nodiscard]] torch::Tensor take(std::int64_t bytes, bool pinned);
  void give_back(torch::Tensor buffer, bool pinned);
  void clear();

 private:
  std::mutex mutex_;
  std::multimap<std::pair<std::int64_t, bool>, torch::Tensor> free_;
};

/// Copies what may change at any time before the constructor returns (on a GPU: ordered before what follows),
/// and what only an optimizer step changes beside what follows: on the CPU by a thread, on a GPU by a stream.
/// @thread settle() the training thread, files() the writing thread.
class RTRAIN_API Snapshot {
 public:
  /// @param stable tensors by address that nothing but an optimizer step changes.
  Snapshot(SaveFiles files, const std::set<const void*>& stable, std::shared_ptr<HostBuffers> buffers);
  /// Waits for the copies.
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  /// From here on every tensor may change. CPU: waits for the copies. CUDA: orders the current stream after
  /// them. A second call does nothing.
  void settle();
  /// The files, in host memory. Waits for the copies.
  /// @throws std::runtime_error a tensor of `stable` was changed while it was copied (names it).
  [[nodiscard]] const SaveFiles& files();

 private:
  struct OnDevice;
  struct Watched {
    std::string name;
    torch::Tensor from, to;  ///< `to` on the CPU only
    std::int64_t version = 0;
  };
  [[nodiscard]] torch::Tensor buffer_for(const torch::Tensor& tensor, bool pinned);
  void for_each_tensor(const std::function<void(const std::string& name, torch::Tensor& tensor)>& visit);
  void copy_on_device(const std::set<const void*>& stable);
  void copy_on_cpu();
  /// With the lock held. Remembers the first of `all` that was changed.
  void look_for_changes(const std::vector<Watched>& all);

  SaveFiles files_;
  std::shared_ptr<HostBuffers> buffers_;
  std::vector<std::pair<torch::Tensor, bool>> taken_;  ///< from the buffers; pinned
  std::vector<Watched> later_;                         ///< on the CPU: what the thread copies
  std::unique_ptr<OnDevice> device_;                   ///< null: all is on the CPU
  std::thread copier_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool copied_ = true;  ///< by the thread
  std::string changed_too_early_;
};

}  // namespace rtrain
