// Reads JSON text that is right, fast. What it does not take is read again by the parser that can say what is
// wrong. Private to proto/json.cpp and its tests.
#pragma once

#include "proto/json.h"

namespace rtrain::proto {

/// True: `out` is the value of the whole text. False: the text is no JSON, gives a key twice or is nested
/// deeper than `depth_max`, or holds something rare (a byte order mark, a number beyond a double); `out` is
/// unspecified then.
[[nodiscard]] bool read_valid_json(std::string_view text, int depth_max, Json& out);

/// The bytes of the character of UTF-8 that begins at text[at]; 0: none does.
[[nodiscard]] std::size_t utf8_character_at(std::string_view text, std::size_t at);

}  // namespace rtrain::proto
