// A wait for a collective that looks up now and then.
#pragma once

#include <rtrain/export.h>

#include <chrono>
#include <functional>

namespace c10d {
class Work;
}

namespace rtrain::comm {

/// Waits until `work` ends or `limit` has passed. The slices grow from `first` to ten seconds; `look` is
/// called after each, and may throw.
/// @return false if the limit passed first.
/// @throws whatever `look` throws, and the error of the work itself, whichever slice it failed in.
[[nodiscard]] RTRAIN_API bool wait_in_slices(c10d::Work& work, std::chrono::milliseconds limit,
                                             std::chrono::milliseconds first,
                                             const std::function<void()>& look);

}  // namespace rtrain::comm
