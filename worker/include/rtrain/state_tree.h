// The named tensors of a model or an optimizer, as far as this rank holds them.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rtrain {

/// Runs of elements of equal length and distance in a tensor, in row-major order. A slice of a tensor along
/// one of its dimensions is one.
struct RTRAIN_API StateRuns {
  std::int64_t length = 0;  ///< elements that lie side by side; 0: all that there are
  std::int64_t stride = 0;  ///< from the first element of a run to that of the next
};

/// This rank's part of one named tensor: all of it, or some of its elements in row-major order: a contiguous
/// range, or equal runs of them. Converts implicitly from and to a whole tensor.
struct RTRAIN_API StatePiece {
  StatePiece() = default;
  StatePiece(torch::Tensor whole)  // NOLINT: implicit on purpose
      : tensor(std::move(whole)), shape(tensor.sizes().vec()) {}
  /// @param part its elements in row-major order. @param at the index of its first element in the whole
  /// tensor.
  StatePiece(torch::Tensor part, std::vector<std::int64_t> whole_shape, std::int64_t at,
             StateRuns in_runs = {})
      : tensor(std::move(part)), shape(std::move(whole_shape)), offset(at), is_part(true), runs(in_runs) {}

  torch::Tensor tensor{};
  std::vector<std::int64_t> shape{};  ///< of the whole tensor
  std::int64_t offset = 0;            ///< in elements
  /// Each rank has elements of its own, even if this one has all of them or none; false: every rank has all.
  bool is_part = false;
  StateRuns runs{};

  /// The same elements of another tensor of the same whole shape: of an optimizer's state.
  [[nodiscard]] StatePiece of(torch::Tensor other) const;
  /// True if the elements lie side by side in the whole.
  [[nodiscard]] bool is_range() const { return runs.length == 0 || runs.length >= tensor.numel(); }
  /// Elements of the whole tensor.
  [[nodiscard]] std::int64_t numel() const;
  [[nodiscard]] bool is_whole() const { return offset == 0 && tensor.numel() == numel(); }
  /// @throws std::logic_error if this is only a part (names its offset and the shape of the whole).
  operator const torch::Tensor&() const { return whole(); }  // NOLINT: implicit on purpose
  [[nodiscard]] const torch::Tensor& whole() const;
  /// `count` elements of the whole tensor from element `first` on, one-dimensional. A view where it can be.
  /// @throws std::logic_error this piece does not have all of them.
  [[nodiscard]] torch::Tensor range(std::int64_t first, std::int64_t count) const;
  /// The elements that `part`, of the same whole shape, has; in its shape. A view where it can be.
  /// @throws std::logic_error this piece does not have all of them.
  [[nodiscard]] torch::Tensor elements_of(const StatePiece& part) const;
};

/// State by name: of a module, or of the optimizers.
using StateTree = std::map<std::string, StatePiece>;

}  // namespace rtrain
