// Optimizers that may step parts of parameters.
#pragma once

#include <rtrain/optimizer.h>

#include <string>

namespace rtrain {

/// @param who "FSDPStrategy". @param cannot "cannot step a part of a parameter". @param instead behind the
/// way out: ", or DDPStrategy"
/// @throws std::invalid_argument unless Optimizer::is_elementwise(); of a Chain the member is named.
void require_elementwise(const Optimizer& optimizer, const std::string& who, const std::string& cannot,
                         const std::string& instead = "");

}  // namespace rtrain
