// Trades computation for memory: PyTorch's torch.utils.checkpoint.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <functional>
#include <utility>
#include <vector>

namespace rtrain {

/// Part of a model: a function of its inputs and of parameters.
using CheckpointedFunction = std::function<std::vector<torch::Tensor>(const std::vector<torch::Tensor>&)>;

/// Options of checkpoint().
struct RTRAIN_API ActivationCheckpointOptions {
  /// The second run draws the random numbers of the first (dropout). Costs a copy of the generators' states.
  bool preserve_rng_state = true;
};

/// Runs `function` without keeping what backward needs of it; backward runs it once more to have it. So only
/// the inputs and outputs of a block are kept, for one forward more. Autocast is as it was in the first run.
///
/// `function` gives the same outputs both times: it changes no buffer and no variable of its own (a BatchNorm
/// counts a batch twice), and lives, with what it refers to, until backward has ended. Without gradients it
/// is only called. With torch::autograd::grad() it does not work, as in PyTorch's reentrant form; gradients
/// of higher order are not had.
/// @param inputs of any number and shape. @throws what `function` throws, also in backward.
[[nodiscard]] RTRAIN_API std::vector<torch::Tensor> checkpoint(
    const CheckpointedFunction& function, const std::vector<torch::Tensor>& inputs,
    const ActivationCheckpointOptions& options = {});
/// One input and one output:
///    x = rtrain::checkpoint([&](const torch::Tensor& x) { return block->forward(x); }, x);
[[nodiscard]] RTRAIN_API torch::Tensor checkpoint(std::function<torch::Tensor(const torch::Tensor&)> function,
                                                  const torch::Tensor& input,
                                                  const ActivationCheckpointOptions& options = {});

}  // namespace rtrain
