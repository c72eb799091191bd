// A second reading of a JSON text, for places only. Private to proto/json.cpp and proto/text_places.cpp.
#pragma once

#include "proto/json_text.h"

namespace rtrain::proto {

struct TextSurvey {
  std::vector<TextProblem> problems;  ///< repeated keys and excess depth, in the order of the text
  std::size_t more = 0;
  std::vector<TextPosition> places;  ///< of the wanted paths, in their order
};

/// Goes through `text` up to its first syntax error.
[[nodiscard]] TextSurvey survey(std::string_view text, JsonLimits limits,
                                const std::vector<std::string>& wanted);

/// The place of a byte of the text.
[[nodiscard]] TextPosition place_at(std::string_view text, std::size_t offset);

}  // namespace rtrain::proto
