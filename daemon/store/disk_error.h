// Two kinds of failure of a disk: one that passes when there is room again, and one after which nothing can be relied on.
#pragma once

#include "common/base/result.h"

#include <cerrno>

namespace rtrain::store {

/// kUnavailable: no space or quota; try again. kIo: anything else.
[[nodiscard]] inline Error disk_error(std::string_view what, int error_number) {
  const Error error = fail_errno(what, error_number);
  if (error_number == ENOSPC || error_number == EDQUOT) return fail(Errc::kUnavailable, error.message());
  return error;
}

/// EX_IOERR of sysexits.h: how a process ends whose disk failed.
inline constexpr int kExitIo = 74;

}  // namespace rtrain::store
