// Compile-time checks that a function meant to override a virtual one does so. With a different parameter or
// an extra const it would hide the base's function instead: it would compile and never be called.
#pragma once

#include <type_traits>

namespace rtrain::detail {

template <class Base, class Own>
// a data member with this name is not checked
inline constexpr bool kSameCall = !std::is_member_function_pointer_v<Own>;
template <class R, class B, class C, class... A>
inline constexpr bool kSameCall<R (B::*)(A...), R (C::*)(A...)> = true;
template <class R, class B, class C, class... A>
inline constexpr bool kSameCall<R (B::*)(A...), R (C::*)(A...) noexcept> = true;

template <class R, class B, class C, class... A>
inline constexpr bool kSameCall<R (B::*)(A...) const, R (C::*)(A...) const> = true;
template <class R, class B, class C, class... A>
inline constexpr bool kSameCall<R (B::*)(A...) const, R (C::*)(A...) const noexcept> = true;

}  // namespace rtrain::detail

/// True if `name` of Derived is Base's virtual function, overridden or not; also true if this cannot be
/// determined (overloaded or private).
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
