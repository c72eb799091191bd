// Checks the options of a Trainer and resolves them for this rank.
#pragma once

#include "worker/run/placement.h"

#include <rtrain/callback.h>
#include <rtrain/trainer.h>

#include <memory>
#include <vector>

namespace rtrain {

/// @throws std::invalid_argument lists every problem of the options.
[[nodiscard]] Placement check_options(const TrainerOptions& options);
/// The callbacks in calling order, including those that the options add.
[[nodiscard]] std::vector<std::shared_ptr<Callback>> arrange_callbacks(const TrainerOptions& options);

}  // namespace rtrain
