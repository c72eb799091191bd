// Parameters that have no memory yet, and how they come to their values.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/types.h>

namespace rtrain::sharding {

/// True if the tensor, or what it is a view of, has no memory yet.
[[nodiscard]] bool is_unborn(const torch::Tensor& tensor);
/// Gives it memory and does what was written down. The generator of random numbers stays where it is. Nothing
/// for any other tensor.
void give_birth(const torch::Tensor& tensor);

/// Of intercept(): what an operator does to unborn tensors. @return true: all is done, and the results are on
/// the stack; false: the operator runs, with what it reads given birth to.
[[nodiscard]] bool defer(const c10::OperatorHandle& op, torch::jit::Stack* stack);

}  // namespace rtrain::sharding
