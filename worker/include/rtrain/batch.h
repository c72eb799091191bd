#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

namespace rtrain {

/// One batch: what Lightning users unpack as (x, y).
struct RTRAIN_API Batch {
  torch::Tensor input{};   ///< [N, ...]
  torch::Tensor target{};  ///< [N] or [N, ...]; undefined for data without targets
  [[nodiscard]] std::int64_t size() const { return input.defined() ? input.size(0) : 0; }
  /// On `device`; the same tensors when they are there already. A copy to the CPU is there when this returns,
  /// whatever `non_blocking` says; one to a GPU is in line with what the calling thread's current stream does
  /// next. From the CPU it runs beside what the GPU still does, on a stream of its own; from page-locked
  /// memory the host does not wait for it.
  [[nodiscard]] Batch to(torch::Device device, bool non_blocking = true) const;
};

}  // namespace rtrain
