// Whether results can be written to a folder, and how fast. A file system that does not answer (a file server
// that is gone, a frozen volume) must not hold `rtrain doctor`: a child process asks it.
#pragma once

#include "proto/record/check.h"

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace rtrain::cli {

struct StorageFacts {
  std::string path;
  std::string problem;   ///< why nothing can be written there; "" it can
  std::string way_out;   ///< of `problem`, if another folder is not the best one
  bool is_there = true;  ///< else the free space is that of the nearest folder above
  double free_bytes = 0;
  double fsync_ms = 0;    ///< median of up to 16 writes of 4 KiB, each with an fsync
  double write_mb_s = 0;  ///< up to 64 MiB and an fsync
};

/// Writes up to 64 MiB to a file without a name and measures it, for about 6 s on a slow disk. `next` is told
/// what comes next and could hang: "a write to /results".
[[nodiscard]] StorageFacts look_at_storage(const std::string& path,
                                           const std::function<void(const std::string&)>& next);
/// The same in a child process, within `limit`. @thread that of main(), while there is no other
[[nodiscard]] StorageFacts look_at_storage_apart(const std::string& path, std::chrono::milliseconds limit);
/// "" if a file can be made in the folder; else why not ("Read-only file system").
[[nodiscard]] std::string why_not_writable(const std::string& folder);

/// The facts as one line, and back. Pure; nothing on another document.
[[nodiscard]] std::string storage_line(const StorageFacts& facts);
[[nodiscard]] std::optional<StorageFacts> read_storage_line(const std::string& line);
/// Pure.
[[nodiscard]] proto::Check judge_storage(const StorageFacts& storage);

}  // namespace rtrain::cli
