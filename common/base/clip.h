// Texts of others in messages of ours: of bounded length.
#pragma once

#include <string>
#include <string_view>

namespace rtrain {

/// The text, or its first `bytes_max` bytes and "..." where it is longer. A character of UTF-8 is not cut in
/// two.
[[nodiscard]] inline std::string clipped(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace rtrain
