#include "cli/exit_code.h"

#include <array>

namespace rtrain::cli {

std::span<const ExitMeaning> exit_meanings() {
  static constexpr std::array kMeanings = {
      ExitMeaning{0, "success; of a followed job: it SUCCEEDED"},
      ExitMeaning{1,
                  "the job FAILED, this machine refused something (a file, a disk), or what was compared or "
                  "checked is not sound"},
      ExitMeaning{2, "wrong usage, or a job file with errors"},
      ExitMeaning{3, "not found: no such job, node or file"},
      ExitMeaning{4, "the head cannot be reached, or the stream was lost and could not be resumed"},
      ExitMeaning{5, "not authenticated: no token, or a wrong one"},
      ExitMeaning{6, "--timeout was reached; the job continues"},
      ExitMeaning{7, "conflict: the job is in another state, or the versions do not match"},
      ExitMeaning{8, "the job cannot be placed on this cluster as it is, or a limit is reached"},
      ExitMeaning{9, "the job was CANCELLED"},
      ExitMeaning{
          130,
          "interrupted by Ctrl-C (143: by SIGTERM); a submitted job continues, that of `rtrain run` is "
          "cancelled"},
  };
  return kMeanings;
}

Exit exit_of(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument: return Exit::kUsage;
    case Errc::kNotFound: return Exit::kNotFound;
    case Errc::kUnavailable: return Exit::kUnreachable;
    case Errc::kUnauthenticated: return Exit::kDenied;
    case Errc::kTimeout: return Exit::kTimeout;
    case Errc::kConflict: return Exit::kConflict;
    case Errc::kUnplaceable:
    case Errc::kLimit: return Exit::kUnplaceable;
    case Errc::kProtocol: return Exit::kUnreachable;
    case Errc::kIo:
    case Errc::kInternal: return Exit::kFailed;
  }
  return Exit::kFailed;
}

Exit exit_of_state(std::string_view state) {
  if (state == "SUCCEEDED") return Exit::kOk;
  if (state == "FAILED") return Exit::kFailed;
  if (state == "CANCELLED") return Exit::kCancelled;
  return Exit::kConflict;
}

int exit_of_signal(int signal) { return 128 + signal; }

}  // namespace rtrain::cli
