// Which optimizer of a chain is to blame.
#pragma once

#include <rtrain/optimizer.h>

#include <string>

namespace rtrain::optim {

/// The name of an optimizer that is not elementwise, for an error: "Muon", or "Muon, in a Chain".
[[nodiscard]] std::string first_not_elementwise(const Optimizer& optimizer);

}  // namespace rtrain::optim
