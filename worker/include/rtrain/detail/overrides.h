// A function that is meant to override and does not (another parameter, a const too many) hides the base's
// instead: it compiles and is never called. These checks make that an error where the object is handed over.
#pragma once

#include <type_traits>

namespace rtrain::detail {

template <class Base, class Own>
// a data member of that name is the class's own affair
inline constexpr bool kSameCall = !std::is_member_function_pointer_v<Own>;
template <class R, class B, class C, class... A>
inline constexpr bool kSameCall<R (B::*)(A...), R (C::*)(A...)> = true;
template <class R, class B, class C, class... A>
inline constexpr bool kSameCall<R (B::*)(A...), R (C::*)(A...) noexcept> = true;

}  // namespace rtrain::detail

/// True when `name` of Derived is Base's virtual function, overridden or not; also when it cannot be told
/// (overloaded, or private).
#define RTRAIN_OVERRIDES(Base, Derived, name)                                              \
  ([] {                                                                                    \
    if constexpr (requires { &Derived::name; })                                            \
      return ::rtrain::detail::kSameCall<decltype(&Base::name), decltype(&Derived::name)>; \
    else                                                                                   \
      return true;                                                                         \
  }())
#define RTRAIN_CHECK_OVERRIDE(Base, Derived, name) \
  static_assert(                                   \
      RTRAIN_OVERRIDES(Base, Derived, name), #name \
      "() hides " #Base                            \
      "'s function instead of overriding it: give it the same parameters and result, and add override")
