// The one place where JSON text becomes values and back. Nothing else calls nlohmann::json::parse or dump.
#pragma once

#include <nlohmann/json.hpp>

#include "common/base/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace rtrain::proto {

using Json = nlohmann::json;

struct JsonLimits {
  std::size_t bytes_max = 4u << 20;
  int depth_max = 64;  ///< nlohmann 3.11.2 overflows the stack in dump() on very deep values
};

/// Parses strictly: size and depth limits, duplicate keys refused, trailing text refused.
/// Comments are not JSON and are refused. Error: kInvalidArgument with line:column.
[[nodiscard]] Result<Json> parse_json(std::string_view text, JsonLimits limits = {});

/// One line. Invalid UTF-8 is replaced (U+FFFD), NaN and infinities become "NaN", "Infinity", "-Infinity"
/// (strings; nlohmann would write null and lose the news that a loss diverged).
[[nodiscard]] std::string dump_json(const Json& value);
/// The same, indented by two spaces, for people.
[[nodiscard]] std::string dump_json_pretty(const Json& value);
/// The double behind a number or one of the three strings above; otherwise false, and `out` is NaN.
[[nodiscard]] bool json_number(const Json& value, double& out);

/// RFC 3339 UTC with milliseconds: "2026-11-23T22:30:00.123Z". `unix_ms`: milliseconds since 1970.
[[nodiscard]] std::string rfc3339(std::int64_t unix_ms);
/// The inverse, of exactly that form; the milliseconds may be missing. False: `text` is something else, `out` is untouched.
[[nodiscard]] bool unix_ms_from_rfc3339(std::string_view text, std::int64_t& out);

}  // namespace rtrain::proto
