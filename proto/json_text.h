// Reading JSON text with the places of its keys, for messages that point at a line of the user's file.
#pragma once

#include "proto/json.h"

#include <map>
#include <string>
#include <vector>

namespace rtrain::proto {

/// A place in a text, both from 1. Columns count bytes.
struct TextPosition {
  int line = 0, column = 0;
};

struct TextProblem {
  std::string path;     ///< "scaling_config.use_gpu"; "" for the text as a whole
  std::string message;
  TextPosition at;
};

struct JsonText {
  Json value;                                  ///< of a repeated key, the first value
  std::map<std::string, TextPosition> places;  ///< of keys and elements by path: "env", "command[1]"
  std::vector<TextProblem> problems;           ///< repeated keys; then at most one syntax error, which ended the reading
};

/// Never throws. `with_places` false leaves `places` empty (faster).
[[nodiscard]] JsonText read_json_text(std::string_view text, JsonLimits limits, bool with_places);

}  // namespace rtrain::proto
