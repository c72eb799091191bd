// How far a follower of a job's stream has been told: what its events carry as id, and what a reader that was
// cut off sends back.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace rtrain::proto {

/// As text: "metrics=12,attempt=2,2.0=4096,2.1=128", numbers in any order; those that are 0 may be left out.
struct StreamPosition {
  std::int64_t metrics = 0;  ///< points told, counted from the job's first
  /// the logs of earlier attempts are told in full, or not wanted; 0: nothing is known of logs
  std::int64_t attempt = 0;
  /// by attempt and rank: bytes told. Of attempts from `attempt` on
  std::map<std::pair<std::int64_t, int>, std::int64_t> logs;
  friend bool operator==(const StreamPosition&, const StreamPosition&) = default;
};

/// What fits into a header line beside others.
inline constexpr std::size_t kStreamPositionBytesMax = 4096;
/// At most kStreamPositionBytesMax: of a job with very many ranks it says nothing of their logs, which are
/// told again from the begin of the attempt then. Their events have offsets.
[[nodiscard]] std::string to_string(const StreamPosition& position);
/// kInvalidArgument: not of that form.
[[nodiscard]] Result<StreamPosition> parse_stream_position(std::string_view text);

}  // namespace rtrain::proto
