// Numbers in the files of this folder: little-endian, at any address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace rtrain::tensors {

/// The caller has seen that `bytes` has so many from `at` on.
template <class T>
[[nodiscard]] T number_at(std::string_view bytes, std::size_t at) {
  static_assert(std::is_unsigned_v<T>);
  std::uint64_t value = 0;
  for (std::size_t i = sizeof(T); i > 0; --i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + i - 1]);
  return static_cast<T>(value);
}

template <class T>
void put_number(std::string& bytes, T value) {
  static_assert(std::is_unsigned_v<T>);
  for (std::size_t i = 0; i < sizeof(T); ++i)
    bytes += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xFF);
}

}  // namespace rtrain::tensors
