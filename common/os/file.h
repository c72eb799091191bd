// Files that survive a crash.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::os {

/// Writes tmp, fsync, rename, fsync of the folder: after a crash the file is the old one or the new one,
/// never half.
[[nodiscard]] Result<Done> write_file_atomic(const std::string& path, std::string_view content,
                                             unsigned mode = 0644);
/// The same without the fsyncs: whole for every reader and over the death of any process, not over that of
/// the machine.
[[nodiscard]] Result<Done> replace_file(const std::string& path, std::string_view content,
                                        unsigned mode = 0644);
/// kNotFound, kIo, kLimit (larger than bytes_max).
[[nodiscard]] Result<std::string> read_file(const std::string& path, std::size_t bytes_max = 64u << 20);
/// mkdir -p; existing is fine.
[[nodiscard]] Result<Done> make_dirs(const std::string& path, unsigned mode = 0755);
[[nodiscard]] Result<Done> fsync_path(const std::string& path);
/// A token: one line, at least 16 characters; the file must be ours and mode 0600 or stricter
/// (kUnauthenticated otherwise).
[[nodiscard]] Result<std::string> read_token_file(const std::string& path);
/// The last `lines` lines of a file, at most `bytes_max` bytes read. Empty when there is none.
[[nodiscard]] std::vector<std::string> tail_lines(const std::string& path, int lines,
                                                  std::size_t bytes_max = 64u << 10);

/// Milliseconds since 1970. For display and records only.
[[nodiscard]] std::int64_t unix_ms_now();
/// `bytes` random bytes as hex, from getrandom(2).
[[nodiscard]] std::string random_hex(int bytes);
/// Absolute path of the running program's folder.
[[nodiscard]] std::string program_dir();
[[nodiscard]] std::string host_name();

}  // namespace rtrain::os
