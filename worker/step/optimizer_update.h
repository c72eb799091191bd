// One step of one optimizer with its hooks.
#pragma once

#include "worker/run/run_context.h"

#include <rtrain/optimizer.h>

#include <torch/types.h>

namespace rtrain {

/// `closure` (may be empty), on_before_optimizer_step, under automatic optimization
/// configure_gradient_clipping, and the step. An optimizer that needs a closure calls all but the step as
/// often as it likes.
/// @param has_gradients read after the closure: without gradients there is no step. Gradients that are zero
/// and not absent would still move the parameters.
/// @return what `closure` returned first.
torch::Tensor update(RunContext& run, Optimizer& optimizer, const Closure& closure,
                     const bool& has_gradients);

}  // namespace rtrain
