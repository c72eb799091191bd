// What makes the ranks' copies of one module the same before they train it together. Collectives: every rank
// calls them.
#pragma once

#include <rtrain/communicator.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <string>
#include <vector>

namespace rtrain {

/// Every rank throws the same sentence when one differs from rank 0; otherwise gradients of different
/// parameters would be added.
/// @throws std::runtime_error "`who`: the ranks' models differ: rank 1 has ..., rank 0 has ...".
/// @param device where this rank's collectives work.
void require_equal_modules(const std::string& who, const torch::nn::Module& module, Communicator& ranks,
                           torch::Device device);

/// What to look for in a model without parameters.
[[nodiscard]] inline std::string no_parameter_words() {
  return "the model has no parameter that requires a gradient; a layer belongs to it only when it was "
         "registered: "
         "layer = register_module(\"layer\", torch::nn::Linear(4, 2))";
}

/// Rank 0's parameters and buffers.
void take_over_state(const torch::nn::Module& module, Communicator& ranks);
void take_over_buffers(const std::vector<torch::Tensor>& buffers, Communicator& ranks);

}  // namespace rtrain
