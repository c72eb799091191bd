// The state of the random generators, for checkpoints of a loop without the Trainer.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <map>
#include <string>

namespace rtrain {

/// The states of LibTorch's default generators that this worker uses (CPU and its GPU), by name. A
/// hand-written loop stores them in its checkpoint so that dropout and shuffling continue exactly after a
/// restart. save_safetensors() accepts them as they are.
[[nodiscard]] RTRAIN_API std::map<std::string, torch::Tensor> generator_states();
/// Restores the states from generator_states(). Names of generators that this worker does not have are
/// ignored.
RTRAIN_API void set_generator_states(const std::map<std::string, torch::Tensor>& states);

}  // namespace rtrain
