// A child process that may hang, crash or never end, as one that talks to a driver may.
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace rtrain::cli {

struct ChildEnd {
  enum class How { kExited, kKilled, kLate, kNotStarted, kTooMuch };
  How how = How::kExited;
  int exit_code = 0;
  int signal = 0;       ///< of kKilled
  std::string problem;  ///< "was killed by SIGSEGV"; "" for exit code 0
};

/// Forks a child in a process group of its own, runs `work` in it with stdout as a pipe, and hands each line
/// of it to `told` in this process. `work` that returns ends the child with exit code 0; it may exec. One
/// that throws ends it with exit code 1, for want of memory after the line kNoMemory. The group, and what
/// else is below the child, is killed at `limit`, at the child's end, and when SIGINT, SIGTERM, SIGHUP or
/// SIGPIPE ends this process; the child itself also when this process is killed. A child that SIGKILL does
/// not end within a second (it waits in the kernel) is left behind.
/// @thread that of main(), while there is no other: `work` runs after a fork without exec.
[[nodiscard]] ChildEnd run_limited(const std::function<void()>& work, std::chrono::milliseconds limit,
                                   const std::function<void(const std::string&)>& told);

/// The way out where a process cannot be started.
constexpr const char* kRaiseLimits =
    "raise the limit that is named: ulimit -n for open files, -u for processes, -v for memory";
constexpr const char* kNoMemory = "no memory is left for it";

/// In `work`: a line to `told`. Ends the child when nobody reads.
void tell_parent(const std::string& line);

}  // namespace rtrain::cli
