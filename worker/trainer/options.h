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
/// Null: none was asked for. @throws std::invalid_argument an unknown name.
[[nodiscard]] std::shared_ptr<Profiler> choose_profiler(const AnyProfiler& choice);
/// The options with what fast_dev_run, overfit_batches and barebones make of them. @param options checked.
[[nodiscard]] TrainerOptions settled(TrainerOptions options);
/// The callbacks in calling order, including those that the options add.
[[nodiscard]] std::vector<std::shared_ptr<Callback>> arrange_callbacks(const TrainerOptions& options);
/// Those with what a module's configure_callbacks() returned, which takes the place of others of its type.
/// @throws std::invalid_argument a null pointer, or two that keep their state under one key.
[[nodiscard]] std::vector<std::shared_ptr<Callback>> with_callbacks_of_module(
    std::vector<std::shared_ptr<Callback>> of_trainer,
    const std::vector<std::shared_ptr<Callback>>& of_module);

}  // namespace rtrain
