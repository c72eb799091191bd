// The one place where JSON text becomes values and back. Nothing else calls nlohmann::json::parse or dump.
#pragma once

#include <nlohmann/json.hpp>

#include "common/base/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace rtrain::proto {

using Json = nlohmann::json;

/// A number as messages show it: six significant digits, "0.5", "1e+06".
[[nodiscard]] std::string number_text(double value);

/// How deep arrays and objects may be nested in what a user gives: a job file, metrics, a return value.
inline constexpr int kUserDepthMax = 64;
/// Levels that messages, events and documents put around it; {"events": [{"checkpoint": {"metrics": ..}}]}
/// has 4.
inline constexpr int kEnvelopeDepthMax = 8;
/// What is written is at most so deep, and what is so deep is read.
inline constexpr int kJsonDepthMax = kUserDepthMax + kEnvelopeDepthMax;

struct JsonLimits {
  std::size_t bytes_max = 4u << 20;
  int depth_max = kJsonDepthMax;
};

/// Parses strictly: size and depth limits, duplicate keys refused, trailing text refused.
/// Comments are not JSON and are refused. Error: kInvalidArgument with line:column. Time and memory grow
/// linearly with the text.
[[nodiscard]] Result<Json> parse_json(std::string_view text, JsonLimits limits = {});

/// One line that parse_json() reads: invalid UTF-8 is replaced (U+FFFD; keys stay distinct), NaN and
/// infinities become "NaN", "Infinity", "-Infinity" (strings; nlohmann would write null and lose the news
/// that a loss diverged), and what lies deeper than kJsonDepthMax becomes "(nested too deeply)".
[[nodiscard]] std::string dump_json(const Json& value);
/// The same, indented by two spaces, for people.
[[nodiscard]] std::string dump_json_pretty(const Json& value);
/// The double behind a number or one of the three strings above; otherwise false, and `out` is NaN.
[[nodiscard]] bool json_number(const Json& value, double& out);

/// How deep arrays and objects are nested: 0 for a number, 1 for []. Counts no further than `most` + 1.
[[nodiscard]] int depth_of(const Json& value, int most = kJsonDepthMax);

/// RFC 3339 UTC with milliseconds: "2026-11-23T22:30:00.123Z". `unix_ms`: milliseconds since 1970; cut to the
/// years 0000 to 9999.
[[nodiscard]] std::string rfc3339(std::int64_t unix_ms);
/// Milliseconds since 1970 of an RFC 3339 date-time: a fraction of any length (cut to milliseconds), "Z" or
/// an offset such as
/// "+01:00". kInvalidArgument says what is wrong: the form, a date or hour that does not exist, a leap
/// second.
[[nodiscard]] Result<std::int64_t> parse_rfc3339(std::string_view text);
/// The same for who needs no reason. False: `out` is untouched.
[[nodiscard]] bool unix_ms_from_rfc3339(std::string_view text, std::int64_t& out);

}  // namespace rtrain::proto
