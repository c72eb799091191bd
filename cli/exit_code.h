// What the program's exit status means. Documented in docs/reference/cli.md and by `rtrain help exit-codes`;
// stable.
#pragma once

#include "common/base/result.h"

#include <span>
#include <string>
#include <string_view>

namespace rtrain::cli {

enum class Exit : int {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kNotFound = 3,
  kUnreachable = 4,
  kDenied = 5,
  kTimeout = 6,
  kConflict = 7,
  kUnplaceable = 8,
  kCancelled = 9,
};

struct ExitMeaning {
  int code;
  std::string_view meaning;
};
/// Every code the program can give, in order, with the signals last.
[[nodiscard]] std::span<const ExitMeaning> exit_meanings();

[[nodiscard]] Exit exit_of(Errc code);
/// Of a job's final state: SUCCEEDED 0, FAILED 1, CANCELLED 9; any other state is kConflict.
[[nodiscard]] Exit exit_of_state(std::string_view state);
/// 128 + signal: 130 for Ctrl-C.
[[nodiscard]] int exit_of_signal(int signal);

}  // namespace rtrain::cli
