// The states of LibTorch's default random generators in this process.
#pragma once

#include <torch/types.h>

#include <map>
#include <string>

namespace rtrain {

/// "rng.cpu", and "rng.cuda" for a rank with a GPU.
[[nodiscard]] std::map<std::string, torch::Tensor> generator_states(torch::Device device);
/// Restores the generators that `states` names.
void set_generator_states(const std::map<std::string, torch::Tensor>& states, torch::Device device);

}  // namespace rtrain
