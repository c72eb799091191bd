// How often a test of random inputs tries.
#pragma once

namespace rtrain::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

/// A tenth of `wanted` under a sanitizer, where each round takes ten times as long and looks for other
/// faults.
constexpr int rounds(int wanted) { return kSanitized ? wanted / 10 : wanted; }

}  // namespace rtrain::test
