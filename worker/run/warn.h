// Warnings to the user.
#pragma once

#include <string>

namespace rtrain {

/// Writes to the rank's log, on rank 0 only.
void warn(const std::string& text);

}  // namespace rtrain
