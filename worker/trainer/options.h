// What the options mean here.
#pragma once

#include "worker/run/placement.h"

#include <rtrain/callback.h>
#include <rtrain/trainer.h>

#include <memory>
#include <vector>

namespace rtrain {

/// @throws std::invalid_argument every problem of the options at once.
[[nodiscard]] Placement check_options(const TrainerOptions& options);
/// The callbacks in the order of their calls, with those that the options ask for added.
[[nodiscard]] std::vector<std::shared_ptr<Callback>> arrange_callbacks(const TrainerOptions& options);

}  // namespace rtrain
