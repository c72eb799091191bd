// The ranks that a user names: "0", "0,2-4", "all".
#pragma once

#include "common/base/result.h"

#include <string>
#include <vector>

namespace rtrain::cli {

/// In the order of their numbers, each once; empty for "all". Pure. kInvalidArgument quotes what cannot be
/// read, or says that more than 1024 are named.
[[nodiscard]] Result<std::vector<int>> parse_ranks(const std::string& text);

}  // namespace rtrain::cli
