// Detects whether random numbers were drawn before a seed was set.
#pragma once

namespace rtrain {

/// Records the state of the CPU generator as that of an unseeded process. Called when the library is loaded,
/// and by a rank forked from a process that has drawn random numbers.
void watch_default_generator();
/// True if random numbers were drawn since then without setting a seed: they differ in each run.
[[nodiscard]] bool drawn_without_seed();

}  // namespace rtrain
