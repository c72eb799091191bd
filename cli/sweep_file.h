// The sweep file of a call: read with its --set options, and with the job that it names.
#pragma once

#include "cli/verb.h"
#include "proto/sweep/sweep_reader.h"

namespace rtrain::cli {

struct SweepFile {
  std::string shown;    ///< the file as given
  std::string job_dir;  ///< the folder that the paths of its job are relative to
  proto::SweepReading reading;
};

/// The second positional of the call. The job of a path is read from the folder of the file. kNotFound, kIo:
/// it cannot be read; kInvalidArgument names an override that cannot be applied. All else that is wrong is in
/// `reading`.
[[nodiscard]] Result<SweepFile> load_sweep(const Call& call);
/// Prints the errors to stderr; false when there are any.
[[nodiscard]] bool report_errors(const SweepFile& file, const Console& console);

/// Makes the paths of its job absolute.
void resolve_paths(SweepFile& file, const Call& call);

}  // namespace rtrain::cli
