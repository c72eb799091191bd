// Which sanitizer watches: a run of the simulation takes about sixty times as long under the address
// sanitizer.
#pragma once

namespace rtrain::test {

#ifdef __has_feature
#define RTRAIN_HAS_FEATURE(feature) __has_feature(feature)
#else  // GCC before 14
#define RTRAIN_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || RTRAIN_HAS_FEATURE(thread_sanitizer)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif
#if defined(__SANITIZE_ADDRESS__) || RTRAIN_HAS_FEATURE(address_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = kThreadSanitizer;
#endif
#undef RTRAIN_HAS_FEATURE

}  // namespace rtrain::test
