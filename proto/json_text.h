// Reading JSON text with the places of its keys, for messages that point at a line of the user's file.
#pragma once

#include "proto/json.h"

#include <string>
#include <vector>

namespace rtrain::proto {

/// A place in a text, both from 1. Columns count bytes. 0: unknown.
struct TextPosition {
  int line = 0, column = 0;
};

struct TextProblem {
  std::string path;  ///< "scaling_config.use_gpu", clipped; "" for the text as a whole
  std::string message;
  TextPosition at;
};

struct JsonText {
  Json value;  ///< of a repeated key, the first value
  /// the first repeated keys; then at most one syntax error, which ended the reading
  std::vector<TextProblem> problems;
  std::size_t more = 0;  ///< repeated keys that are not listed
};
/// So many repeated keys of one text are told with their places.
inline constexpr std::size_t kProblemsMax = 20;

/// Never throws. Linear in the text.
[[nodiscard]] JsonText read_json_text(std::string_view text, JsonLimits limits);

/// Where keys and elements stand, by path ("env.A", "command[1]"): of each path its own place, or that of the
/// nearest enclosing key that the text has. Reads the text once more: for the few paths that an error message
/// names.
[[nodiscard]] std::vector<TextPosition> places_in(std::string_view text, JsonLimits limits,
                                                  const std::vector<std::string>& paths);

}  // namespace rtrain::proto
