// What a fit must be so that its step can be captured.
#pragma once

#include "worker/run/run_context.h"

#include <string>

namespace rtrain {

/// Once the optimizers are made.
/// @throws std::invalid_argument what of the program cannot be captured, all at once, each with the way out.
void require_capturable(RunContext& run);
/// What the machine lacks, so that the steps of a right program run eagerly; empty: nothing.
[[nodiscard]] std::string why_steps_stay_eager(RunContext& run, bool can_record);

}  // namespace rtrain
