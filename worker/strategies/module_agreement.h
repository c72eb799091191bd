// Makes the ranks' copies of a module equal before they train it together. These functions are collectives:
// every rank must call them.
#pragma once

#include <rtrain/communicator.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <string>
#include <vector>

namespace rtrain {

/// If one rank's module differs from that of rank 0, every rank throws the same error; otherwise gradients of
/// different parameters would be added.
/// @throws std::runtime_error "`who`: the ranks' models differ: rank 1 has ..., rank 0 has ...".
/// @param device the device of this rank's collectives.
void require_equal_modules(const std::string& who, const torch::nn::Module& module, Communicator& ranks,
                           torch::Device device);

/// The hint for a model without parameters.
[[nodiscard]] inline std::string no_parameter_words() {
  return "the model has no parameter that requires a gradient; a layer belongs to it only when it was "
         "registered: "
         "layer = register_module(\"layer\", torch::nn::Linear(4, 2))";
}

/// Copies rank 0's parameters and buffers to every rank.
void take_over_state(const torch::nn::Module& module, Communicator& ranks);
/// Copies those of rank `root`.
void take_over_buffers(const std::vector<torch::Tensor>& buffers, Communicator& ranks, int root = 0);

}  // namespace rtrain
