// One backward with its hooks.
#pragma once

#include "worker/run/run_context.h"

#include <rtrain/backward_options.h>

#include <torch/types.h>

#include <string>

namespace rtrain {

/// on_before_backward, the module's backward(), on_after_backward, each with the loss as the precision scales
/// it.
/// @param given whose loss it is, for messages: "training_step returned". @param sync averages the gradients
/// over the ranks.
/// @throws std::logic_error a loss that is no scalar and has no options.gradient, or has no graph; an
/// override
///         of backward() that leaves the ranks with different gradients.
void run_backward(RunContext& run, const torch::Tensor& loss, bool sync, const BackwardOptions& options,
                  const std::string& given);

}  // namespace rtrain
