// What a user gives to be sent and stored, held against its limit where it is given: further on it could only
// be lost.
#pragma once

#include "common/base/result.h"
#include "proto/json.h"

#include <cstddef>
#include <string>

namespace rtrain::runtime {

inline constexpr std::size_t kMetricsBytesMax = 256u << 10;    ///< of one report(), as JSON text
inline constexpr std::size_t kReturnValueBytesMax = 1u << 20;  ///< of a training function, as JSON text
inline constexpr std::size_t kErrorBytesMax =
    64u << 10;                        ///< of an exception's text that travels; the log has all of it
inline constexpr int kDepthMax = 32;  ///< lists and objects within each other

/// kLimit: "<what> has 5242914 bytes as JSON; at most 262144 (256 KiB) are stored", or is nested too deep.
/// `way_out`: the hint.
[[nodiscard]] Result<Done> check_payload(const proto::Json& value, const std::string& what,
                                         std::size_t bytes_max, const std::string& way_out);
/// The beginning of a long text, whole characters of UTF-8, and how long it was.
[[nodiscard]] std::string shortened(std::string text, std::size_t bytes_max = kErrorBytesMax);

}  // namespace rtrain::runtime
