// LibTorch's default generators of this process, and whether somebody seeded them in time.
#pragma once

namespace rtrain {

/// Remembers the CPU generator as it is now: what a process begins with, when nobody has seeded it. Called
/// when the library is loaded, and by a rank that was forked from a process that has drawn numbers.
void watch_default_generator();
/// True when numbers were drawn since then and no seed was set: they are others in each run.
[[nodiscard]] bool drawn_without_seed();

}  // namespace rtrain
