// LibTorch's types of numbers and those that files have.
#pragma once

#include "proto/tensors/dtype.h"

#include <c10/core/ScalarType.h>

namespace rtrain::files {

[[nodiscard]] at::ScalarType scalar_type_of(const tensors::Dtype& dtype);
/// Null: safetensors does not have it.
[[nodiscard]] const tensors::Dtype* dtype_of(at::ScalarType type);

}  // namespace rtrain::files
