// Result<T>: a value, or an Error that names the thing, the place and the way out.
#pragma once

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace rtrain {

/// What went wrong, by what the caller can do about it. Each code has a row in docs/reference/errors.md.
enum class Errc {
  kInvalidArgument,  ///< the request is wrong; repeating it cannot help (CLI exit 2)
  kNotFound,         ///< no such job, node, file or symbol (exit 3)
  kUnavailable,      ///< the peer cannot be reached or the stream broke; repeating may help (exit 4)
  kUnauthenticated,  ///< no token, or a wrong one (exit 5)
  kTimeout,          ///< a deadline passed; the work may go on (exit 6)
  kConflict,         ///< wrong state, older attempt, incompatible version (exit 7)
  kUnplaceable,      ///< no set of nodes can ever hold the job as it is (exit 8)
  kLimit,            ///< a size or count limit was exceeded; the connection is closed
  kProtocol,         ///< the peer sent something the protocol does not allow
  kIo,               ///< the operating system refused: file, disk, socket, fork
  kInternal,         ///< a bug in rtrain
};

/// "invalid_argument", "not_found", ... as used in JSON.
[[nodiscard]] std::string_view to_string(Errc code) noexcept;
/// The inverse; unknown names give kInternal.
[[nodiscard]] Errc errc_from_string(std::string_view name) noexcept;

/// One error: a code, one sentence, and optionally the way out.
class [[nodiscard]] Error {
 public:
  /// A bug unless it is never looked at: boost::system::result::error() of a success gives it.
  Error() : Error(Errc::kInternal, "no error") {}
  Error(Errc code, std::string message, std::string hint = {})
      : code_(code), message_(std::move(message)), hint_(std::move(hint)) {}

  [[nodiscard]] Errc code() const noexcept { return code_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  /// What the user can do next; may be empty.
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }

  /// Adds where it happened in front: "reading configs/head.json: ...". Keeps code and hint.
  [[nodiscard]] Error in(std::string_view place) const {
    return {code_, std::string(place) + ": " + message_, hint_};
  }

 private:
  Errc code_;
  std::string message_;
  std::string hint_;
};

/// Thrown by Result::value() when there is none, and used by the SDK at its public edge.
class ErrorException : public std::runtime_error {
 public:
  explicit ErrorException(Error error) : std::runtime_error(error.message()), error_(std::move(error)) {}
  [[nodiscard]] const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

[[noreturn]] inline void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw ErrorException(error);
}

template <class T>
using Result = boost::system::result<T, Error>;

/// Result of something that yields nothing: `return ok();`
struct Done {};
[[nodiscard]] inline Result<Done> ok() { return Done{}; }

/// `return fail(Errc::kNotFound, "job 7: no such job", "rtrain list shows the jobs");`
[[nodiscard]] inline Error fail(Errc code, std::string message, std::string hint = {}) {
  return {code, std::move(message), std::move(hint)};
}

/// kIo with the text of errno: `return fail_errno("open " + path, errno);`
[[nodiscard]] Error fail_errno(std::string_view what, int error_number);

}  // namespace rtrain
