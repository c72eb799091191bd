// Saves and loads the parameters and buffers of a module by PyTorch's names.
#pragma once

#include <rtrain/state_tree.h>
#include <rtrain/weights.h>

#include <torch/nn/module.h>

namespace rtrain {

/// The tensors are the module's own, not copies. Parameters of parallel layers are parts.
[[nodiscard]] StateTree state_of(const torch::nn::Module& module);
/// Copies `saved` into the module. @param strict false: names that only one side has are no error.
/// @throws std::runtime_error lists every name that does not fit; nothing has changed then.
LoadedWeights load_state(torch::nn::Module& module, const StateTree& saved, bool strict = true);
/// The same into the pieces that this rank holds.
LoadedWeights load_state(const StateTree& own, const StateTree& saved, bool strict);

}  // namespace rtrain
