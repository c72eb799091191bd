// Two kinds of failure of a disk: one that passes when there is room again, and one after which nothing can be relied on.
#pragma once

#include "common/base/result.h"

#include <cerrno>

namespace rtrain::store {

/// A lack that passes: of space, of quota, of file descriptors.
[[nodiscard]] inline bool passes(int error_number) {
  return error_number == ENOSPC || error_number == EDQUOT || error_number == EMFILE || error_number == ENFILE;
}

/// kUnavailable: a lack that passes; try again. kIo: anything else.
[[nodiscard]] inline Error disk_error(std::string_view what, int error_number) {
  const Error error = fail_errno(what, error_number);
  if (passes(error_number)) return fail(Errc::kUnavailable, error.message());
  return error;
}

/// EX_IOERR of sysexits.h: how a process ends whose disk failed.
inline constexpr int kExitIo = 74;

}  // namespace rtrain::store
