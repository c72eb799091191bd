#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

namespace rtrain {

/// One batch: what Lightning users unpack as (x, y).
struct RTRAIN_API Batch {
  torch::Tensor input{};  ///< [N, ...]
  torch::Tensor target{};  ///< [N] or [N, ...]; undefined for data without targets
  [[nodiscard]] std::int64_t size() const { return input.defined() ? input.size(0) : 0; }
  /// On `device`; the same tensors when they are there already.
  [[nodiscard]] Batch to(torch::Device device, bool non_blocking = true) const {
    return {input.to(device, non_blocking), target.defined() ? target.to(device, non_blocking) : target};
  }
};

}  // namespace rtrain
