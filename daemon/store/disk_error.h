// Kinds of failure of a disk: those that pass, and one after which nothing can be relied on.
#pragma once

#include "common/base/result.h"

#include <cerrno>
#include <optional>

namespace rtrain::store {

/// A lack that passes: kUnavailable of space, quota or the size that a file may have, kLimit of file
/// descriptors.
[[nodiscard]] inline std::optional<Errc> lack_of(int error_number) {
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) return Errc::kUnavailable;
  if (error_number == EMFILE || error_number == ENFILE) return Errc::kLimit;
  return std::nullopt;
}

/// The code is that of lack_of(): try again; kIo for anything else.
[[nodiscard]] inline Error disk_error(std::string_view what, int error_number) {
  const Error error = fail_errno(what, error_number);
  const auto lack = lack_of(error_number);
  return lack ? fail(*lack, error.message()) : error;
}

/// EX_IOERR of sysexits.h: how a process ends whose disk failed.
inline constexpr int kExitIo = 74;

}  // namespace rtrain::store
