// A job file as the user gave it: read, overridden by --set, validated, its paths made absolute.
#pragma once

#include "cli/job_pages.h"
#include "cli/verb.h"
#include "proto/jobspec/jobspec.h"

#include <map>

namespace rtrain::cli {

/// A field that the command line sets.
struct Override {
  std::string assignment;  ///< "scaling_config.num_workers=4"
  std::string shown;       ///< the option as it was given: "--set scaling_config.num_workers=4", "--time 30"
  Override(std::string set) : assignment(std::move(set)), shown("--set " + assignment) {}
  Override(const char* set) : Override(std::string(set)) {}
  Override(std::string field, std::string option) : assignment(std::move(field)), shown(std::move(option)) {}
};

struct JobFile {
  std::string shown;    ///< "job.json" as given; "stdin" for "-"
  proto::JobSpec spec;  ///< resolved; meaningful only when errors is empty
  std::vector<proto::SpecError> errors;
  std::map<std::string, std::string> blamed;  ///< path of an error -> the option that brought it
  /// what may be right later: "train_func.library: /x/libt.so does not exist"
  std::vector<std::string> warnings;
};

/// One --set: "scaling_config.num_workers=4". The value is of the type that a job file has
/// there: `env.X=1` and `scheduling.array=0` are strings. Where any type goes it is JSON if it reads as such,
/// else a string. Missing objects on the way are made; a number addresses an element of an array that is
/// there. kInvalidArgument names the override.
[[nodiscard]] Result<proto::Json> with_override(proto::Json document, const Override& override);

/// Where the paths of a job file are relative to.
struct PathBase {
  std::string cwd, home, library_dir;
};
[[nodiscard]] PathBase path_base(const Getenv& getenv);

/// Validates `text`, which came from `job_dir`. Errors of the text carry line and column, also when overrides
/// were applied. An override that cannot be applied is the Error; everything wrong with the job is in
/// JobFile::errors, also what overrides made of it.
[[nodiscard]] Result<JobFile> read_job(const std::string& shown, const std::string& text,
                                       const std::vector<Override>& overrides, const std::string& job_dir,
                                       const PathBase& base);
/// read_job of the first positional ("-": stdin), the scheduling options, --resume and the --set options of a
/// call. `get` asks the head, for the checkpoint of --resume JOB. kNotFound, kIo when it cannot be read.
[[nodiscard]] Result<JobFile> load_job(const Call& call, const std::function<Result<Get>()>& get = {});
/// "job.json:12:5: scaling_config.num_worker: unknown key; did you mean num_workers?", or with an
/// option as its place: "--set name=a/b: must be ..."
[[nodiscard]] std::string error_line(const JobFile& job, const proto::SpecError& error);
/// Prints the errors to stderr; false when there are any.
[[nodiscard]] bool report_errors(const JobFile& job, const Console& console);

/// --queue, --priority, --time, ...: fields of `scheduling` under the names that Slurm's users know.
/// With `and_more`, a verb's other options, behind them.
[[nodiscard]] std::vector<Option> scheduling_options(std::vector<Option> and_more);
/// Those of them that a call has, as overrides; --set comes after them and wins. kInvalidArgument: --begin is
/// no time.
[[nodiscard]] Result<std::vector<Override>> scheduling_overrides(const Arguments& args, std::int64_t now_ms);

/// The option that run, submit, validate and plan share.
[[nodiscard]] Option set_option();

}  // namespace rtrain::cli
