// Optimizers and schedulers as checkpoints hold them.
#pragma once

#include <rtrain/optimizers.h>

#include <nlohmann/json.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace rtrain {

/// Version 3. `tensors` (optimizer.safetensors) by "<optimizer>.<parameter name>.<state name>"; `list`
/// (loop.json's "optimizers") of {"type", "groups": [{"name", "parameters", options...}], "schedulers":
/// [...]}. Version 2 and 1 had one optimizer, tensors by "<parameter number>.<state name>", "lr" as a tensor,
/// and no list.
struct SavedOptimizers {
  StateTree tensors{};
  nlohmann::json list = nlohmann::json::array();
};

/// @param optimizers with parameters that have their names. The tensors are the optimizers' own.
[[nodiscard]] SavedOptimizers save_optimizers(const std::vector<std::shared_ptr<Optimizer>>& optimizers,
                                              const std::vector<LRSchedulerConfig>& schedulers);

/// @param version of the checkpoint that `saved` is from.
/// @throws std::invalid_argument all that does not fit in one message, by number and type of optimizer and
/// scheduler; no optimizer is changed then.
void load_optimizers(const std::vector<std::shared_ptr<Optimizer>>& optimizers,
                     const std::vector<LRSchedulerConfig>& schedulers, const SavedOptimizers& saved,
                     int version);

}  // namespace rtrain
