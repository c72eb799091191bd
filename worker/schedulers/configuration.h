// What configure_optimizers() may not return.
#pragma once

#include <rtrain/export.h>
#include <rtrain/optimizers.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rtrain::schedulers {

/// What is wrong: an optimizer or scheduler that is null, a scheduler of a foreign optimizer, a frequency
/// below 1; with automatic optimization also several optimizers, a ReduceLROnPlateau without a monitor, an
/// optimizer that needs a closure and several batches a step. By number and type; empty: nothing.
/// @param accumulate batches a step.
[[nodiscard]] RTRAIN_API std::vector<std::string> problems_of(const Optimizers& configured,
                                                              bool automatic = true,
                                                              std::int64_t accumulate = 1);

/// What is allowed and hardly meant: no optimizer; OneCycleLR or CyclicLR once an epoch, a monitor that
/// nothing reads; with manual optimization, what only the Trainer would follow.
[[nodiscard]] RTRAIN_API std::vector<std::string> doubts_about(const Optimizers& configured,
                                                               bool automatic = true);

}  // namespace rtrain::schedulers
