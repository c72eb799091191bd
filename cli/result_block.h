// The end of a job, for people. Pure.
#pragma once

#include "proto/api/api.h"

#include <optional>
#include <string>

namespace rtrain::cli {

/// "/home/u/.local/state/rtrain/.../log" or "rtrain logs 42 --rank 1 --attempt 3": where the whole log of the
/// failed rank is.
[[nodiscard]] std::string log_command(const proto::JobError& error, const std::string& job);

/// The Result in a few lines; of a job that FAILED first the error with its place and the rank's last words.
/// `job` adds the time it took; `whole_log` is where the rest of the log is.
[[nodiscard]] std::string result_block(const proto::ResultDoc& result,
                                       const std::optional<proto::JobDoc>& job, const std::string& whole_log,
                                       bool colour);
/// The error alone, as `result_block` and `rtrain status ID` show it. `job` adds how many attempts it had,
/// and why it got no more.
[[nodiscard]] std::string error_block(const proto::JobError& error, const std::optional<proto::JobDoc>& job,
                                      const std::string& whole_log, bool colour);

/// Of a job's reports, that some are missing; "" when none is.
[[nodiscard]] std::string dropped_line(std::int64_t reports, std::int64_t dropped);

}  // namespace rtrain::cli
