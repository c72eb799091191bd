// Numbers in texts that somebody else wrote.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

namespace rtrain {

/// The largest whole number that JSON readers agree on (2^53 - 1). Every whole number of a message, an event
/// or a document is within it either way, so that a sum of a few of them never overflows.
inline constexpr std::int64_t kWholeMax = (std::int64_t{1} << 53) - 1;

/// Takes a number without a sign from the front of `text`: digits with an optional fraction, and an exponent
/// where it is allowed. Nothing: there is none, or none that is finite; "nan" and "inf", which
/// std::from_chars accepts, are none.
[[nodiscard]] inline std::optional<double> take_number(std::string_view& text, bool with_exponent = true) {
  if (text.empty() || !((text.front() >= '0' && text.front() <= '9') || text.front() == '.'))
    return std::nullopt;
  double value = 0;
  const auto form = with_exponent ? std::chars_format::general : std::chars_format::fixed;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, form);
  if (error != std::errc{} || !std::isfinite(value)) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

/// The whole text as such a number, with a sign in front of it.
[[nodiscard]] inline std::optional<double> finite_number(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const auto value = take_number(text);
  if (!value || !text.empty()) return std::nullopt;
  return negative ? -*value : *value;
}

/// The whole text as a whole number within kWholeMax, digits with at most a minus in front.
[[nodiscard]] inline std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < -kWholeMax || value > kWholeMax)
    return std::nullopt;
  return value;
}

}  // namespace rtrain
