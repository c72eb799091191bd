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
  /// whatever `non_blocking` says; one to a GPU is in line with what the GPU does next.
  [[nodiscard]] Batch to(torch::Device device, bool non_blocking = true) const {
    const bool later = non_blocking && !device.is_cpu();
    return {input.to(device, later), target.defined() ? target.to(device, later) : target};
  }
};

}  // namespace rtrain
