// The header of a .npy file. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rtrain::data {

struct NpyHeader {
  at::ScalarType type = at::kByte;
  std::size_t item_bytes = 1;     ///< of one element
  std::size_t swapped_bytes = 1;  ///< of what must be turned round for this machine; 1: nothing
  bool is_fortran = false;
  std::vector<std::int64_t> shape{};
  std::size_t data_at = 0, data_bytes = 0;
};

/// @throws std::runtime_error says why, without the path.
[[nodiscard]] NpyHeader npy_header(std::span<const std::uint8_t> bytes);
/// A copy of the array. @throws as npy_header().
[[nodiscard]] torch::Tensor npy_array(std::span<const std::uint8_t> bytes);

}  // namespace rtrain::data
