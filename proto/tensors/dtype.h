// The types of numbers that tensors in files have, under the names of safetensors and of PyTorch.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace rtrain::tensors {

struct Dtype {
  std::string_view name;     ///< "F32": of safetensors, or what it would be
  std::uint64_t bytes;       ///< of an element
  std::string_view torch;    ///< "float32"
  std::string_view storage;  ///< "FloatStorage"; "" none: PyTorch keeps such tensors in an UntypedStorage
  bool in_safetensors;       ///< the format has it; complex128 it has not
};

[[nodiscard]] std::span<const Dtype> dtypes();
/// By the name of safetensors, of those that the format has. Null: unknown.
[[nodiscard]] const Dtype* find_dtype(std::string_view name);
/// By PyTorch's names, "float32" and "FloatStorage". Null: unknown.
[[nodiscard]] const Dtype* find_torch_dtype(std::string_view name);
[[nodiscard]] const Dtype* find_torch_storage(std::string_view name);

}  // namespace rtrain::tensors
