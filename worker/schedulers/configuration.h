// What configure_optimizers() may not return.
#pragma once

#include <rtrain/export.h>
#include <rtrain/optimizers.h>

#include <string>
#include <vector>

namespace rtrain::schedulers {

/// What is wrong: an optimizer or scheduler that is null, a scheduler of a foreign optimizer, a
/// ReduceLROnPlateau without a monitor, a frequency below 1. By number and type; empty: nothing.
[[nodiscard]] RTRAIN_API std::vector<std::string> problems_of(const Optimizers& configured);

/// What is allowed and hardly meant: OneCycleLR or CyclicLR once an epoch, a monitor that nothing reads.
[[nodiscard]] RTRAIN_API std::vector<std::string> doubts_about(const Optimizers& configured);

}  // namespace rtrain::schedulers
