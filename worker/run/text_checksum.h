// Checksums by which ranks find out that they have different texts.
#pragma once

#include <cstdint>
#include <string_view>

namespace rtrain {

/// FNV-1a of 64 bits.
[[nodiscard]] constexpr std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

/// The same, cut to the whole numbers that a float64 holds: it travels in a row of numbers.
[[nodiscard]] constexpr double checksum_of_text(std::string_view text) {
  return static_cast<double>(fnv1a(text) >> 12);
}

}  // namespace rtrain
