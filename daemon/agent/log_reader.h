// Pieces of a rank's log file.
#pragma once

#include "proto/message/message.h"

namespace rtrain::agent {

/// Reads [offset, offset + bytes_max), or from so many lines before the end (negative offset). `live`: the
/// rank still runs, so that the end of the file is not the end of the log. What was cut (log_bound.h) is left
/// out: data.offset is above read.offset then. data.error says why there is nothing.
[[nodiscard]] proto::LogData read_log(const std::string& path, const proto::LogRead& read, bool live);

}  // namespace rtrain::agent
