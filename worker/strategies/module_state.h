// Parameters and buffers of a module that a rank holds whole, by PyTorch's names.
#pragma once

#include <rtrain/state_tree.h>

#include <torch/nn/module.h>

namespace rtrain {

/// The tensors are the module's own.
[[nodiscard]] StateTree state_of(const torch::nn::Module& module);
/// Copies `saved` in. @throws std::runtime_error all that does not fit, by name; nothing is changed then.
void load_state(torch::nn::Module& module, const StateTree& saved);

}  // namespace rtrain
