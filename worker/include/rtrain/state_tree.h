// The state of a model or an optimizer by name, as far as a rank holds it.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rtrain {

/// What this rank holds of one named tensor: all of it, or a contiguous range of its elements in row-major
/// order. Converts from and to a tensor that is whole.
struct RTRAIN_API StatePiece {
  StatePiece() = default;
  StatePiece(torch::Tensor whole)  // NOLINT: implicit on purpose
      : tensor(std::move(whole)), shape(tensor.sizes().vec()) {}
  /// @param part one-dimensional. @param at the number of its first element in the whole.
  StatePiece(torch::Tensor part, std::vector<std::int64_t> whole_shape, std::int64_t at)
      : tensor(std::move(part)), shape(std::move(whole_shape)), offset(at) {}

  torch::Tensor tensor{};
  std::vector<std::int64_t> shape{};  ///< of the whole
  std::int64_t offset = 0;            ///< in elements

  /// Of the whole.
  [[nodiscard]] std::int64_t numel() const;
  [[nodiscard]] bool is_whole() const { return offset == 0 && tensor.numel() == numel(); }
  /// @throws std::logic_error it is a part: its offset and the shape of the whole.
  operator const torch::Tensor&() const { return whole(); }  // NOLINT: implicit on purpose
  [[nodiscard]] const torch::Tensor& whole() const;
};

using StateTree = std::map<std::string, StatePiece>;

}  // namespace rtrain
