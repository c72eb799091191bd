// A call of a library that may never come back, and for which there is a time.
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace rtrain::runtime {

/// Runs `work` in a thread of its own and waits for it, at most `limit`.
/// @throws what `work` threw.
/// @throws std::runtime_error(`too_late`) it was not done in time. The thread is left behind: `work` must own
/// what it uses, and the process should end.
void run_within(std::chrono::milliseconds limit, const std::string& too_late, std::function<void()> work);

}  // namespace rtrain::runtime
