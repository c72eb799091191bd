// Gathers and reduce-scatters of flat buffers between the ranks that hold their parts.
#pragma once

#include "worker/sharding/buffer_pool.h"

#include <rtrain/communicator.h>

#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace rtrain::sharding {

/// Work under way. Its tensors live until wait() has returned.
class Transfer {
 public:
  Transfer() = default;
  void add(Work work) { works_.push_back(std::move(work)); }
  /// @throws std::runtime_error as Work::wait(). What was not waited for stays under way.
  void wait();

 private:
  std::vector<Work> works_;
};

/// On the CPU by messages between each two ranks: Gloo's own all-gather and reduce-scatter copy through lists
/// and lose a factor of 2 to 6 at 1 MiB and more (measured with LibTorch 2.11). On a GPU by NCCL's
/// collectives.
/// @thread one at a time.
class Exchange {
 public:
  /// @lifetime both must outlive it.
  Exchange(Communicator& ranks, BufferPool& buffers) : ranks_(ranks), buffers_(buffers) {}

  /// Fills `whole` with the parts of all ranks; this rank's part is there already.
  /// @param number of the buffer, from 0; @param round of its gathers since the start, the same on every
  /// rank.
  [[nodiscard]] Transfer gather(const torch::Tensor& whole, int number, std::int64_t round);

  /// The sum over the ranks of this rank's part of `whole`.
  struct Reduction {
    torch::Tensor whole;     ///< what this rank contributes; from the pool
    torch::Tensor received;  ///< by messages: the parts of the other ranks; else the sum; from the pool
    Transfer arriving, leaving;
    bool by_messages = false;
  };
  [[nodiscard]] Reduction start_reduction(torch::Tensor whole, int number, std::int64_t round);
  /// Waits. @return the sum: one part, in memory of its own. The buffers go back to the pool.
  [[nodiscard]] torch::Tensor finish(Reduction& reduction);

 private:
  [[nodiscard]] bool uses_messages(const torch::Tensor& tensor) const {
    return tensor.is_cpu() || !ranks_.is_capturable();
  }
  [[nodiscard]] torch::Tensor part(const torch::Tensor& whole, int rank) const;

  Communicator& ranks_;
  BufferPool& buffers_;
};

}  // namespace rtrain::sharding
