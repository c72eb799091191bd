// Random numbers of a loop without the Trainer.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <map>
#include <string>

namespace rtrain {

/// States of all of LibTorch's default generators that this worker uses (the CPU's, and its GPU's), by name:
/// what a checkpoint of an own loop needs so that dropout and shuffling go on as if nothing had happened.
/// save_safetensors() takes them as they are.
[[nodiscard]] RTRAIN_API std::map<std::string, torch::Tensor> generator_states();
/// Sets what generator_states() gave; names that this worker has no generator for are left out.
RTRAIN_API void set_generator_states(const std::map<std::string, torch::Tensor>& states);

}  // namespace rtrain
