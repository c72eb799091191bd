// The options of a Trainer that are switches of LibTorch for the whole process.
#pragma once

#include <rtrain/trainer.h>

#include <functional>
#include <string>

namespace rtrain {

/// @param add gets what cannot be used.
void check_numerics(const TrainerOptions& options, const std::function<void(std::string)>& add);
/// Sets what the options name and leaves the rest, as Lightning does.
void set_numerics(const TrainerOptions& options);

}  // namespace rtrain
