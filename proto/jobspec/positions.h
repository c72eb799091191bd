// Where each key of a JSON text stands, so that a message can say line:column.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace rtrain::proto {

struct Position { int line = 0, column = 0; };

/// Dotted path ("run_config.failure_config.max_failures", "command.0") -> place of the key (array elements: of the value).
/// `text` must be valid JSON (it was parsed before); other text gives whatever was found until it went wrong.
[[nodiscard]] std::map<std::string, Position> key_positions(std::string_view text);

}  // namespace rtrain::proto
