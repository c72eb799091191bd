// A rank that prints without end must not fill the disk, and must not be held up either: it writes straight
// into its log, and the oldest part of that is cut out behind its back.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <string>

namespace rtrain::agent {

/// Where the log's first byte that was not cut stands; its size when there is none.
[[nodiscard]] std::int64_t log_begin(int fd);

/// Cuts the oldest part of a log that holds more than `bytes_max`, so that seven eighths of that stay: a hole
/// takes no space, offsets stay true, and whoever appends notices nothing.
/// @return how many bytes were cut now. kNotFound: no such file. kIo: also where the file system has no
/// holes.
[[nodiscard]] Result<std::int64_t> bound_log(const std::string& path, std::int64_t bytes_max);

}  // namespace rtrain::agent
