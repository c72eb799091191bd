// Modules and batches of one floating-point type.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/precision.h>

#include <torch/types.h>

namespace rtrain {

/// Parameters and buffers that hold floating-point numbers get `dtype` in place; integers stay. Gradients of
/// another type are dropped.
void cast_module(torch::nn::Module& module, torch::ScalarType dtype);
/// Tensors that hold floating-point numbers in `dtype`; the others as they are.
[[nodiscard]] Batch cast_input(Batch batch, torch::ScalarType dtype);
/// New tensors without a type of their own get `dtype`. The default is the process's: other threads see it.
[[nodiscard]] PrecisionScope default_dtype_scope(torch::ScalarType dtype);

}  // namespace rtrain
