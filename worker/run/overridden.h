// Whether a class has a virtual function of its own.
#pragma once

#include <cstddef>
#include <cstring>

namespace rtrain {

/// True if the class of `object` overrides `function`. Compares the entries of the virtual tables, as the
/// Itanium C++ ABI lays them out (GCC and clang on Linux): the type may be known at run time only, and to
/// call the function would tell nothing.
/// @param plain an object of Base itself. @param function declared in Base, and defined in a source file:
///        each library may have a copy of an inline one, and its address differs then.
template <class Base, class R, class... A>
[[nodiscard]] bool is_overridden(const Base& object, const Base& plain, R (Base::*function)(A...)) {
  struct {
    std::ptrdiff_t pointer, adjustment;
  } raw{};
  static_assert(sizeof function == sizeof raw);
  std::memcpy(&raw, &function, sizeof raw);
#if defined(__aarch64__) || defined(__arm__)
  const auto offset = raw.pointer;  // the mark of a virtual function is in the adjustment
#else
  const auto offset = raw.pointer - 1;
#endif
  const auto entry = [offset](const Base& one) {
    const char* table = nullptr;
    std::memcpy(&table, static_cast<const void*>(&one), sizeof table);
    const void* code = nullptr;
    std::memcpy(&code, table + offset, sizeof code);
    return code;
  };
  return entry(object) != entry(plain);
}

}  // namespace rtrain
