// A job spec as it came over HTTP: read, and held against what the head can keep.
#pragma once

#include "daemon/head/api/http.h"

#include <variant>

namespace rtrain::head {

struct SpecRefusal {
  proto::ErrorDoc doc;
  http::status status;
};
using CheckedSpec = std::variant<proto::JobSpec, SpecRefusal>;

/// Larger bodies are checked on a thread of their own: 2 MB with 170,000 keys take 0.1 s.
inline constexpr std::size_t kSpecBytesAtOnce = 64u << 10;

/// The spec in `body`, valid and with absolute paths; it reads back as it was. Linear in the body.
/// @thread any: it touches nothing of the head's.
[[nodiscard]] CheckedSpec check_spec(std::string_view body);

}  // namespace rtrain::head
