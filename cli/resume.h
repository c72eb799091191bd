// --resume of run and submit: where the new job begins, and the words that say so when one has ended early.
#pragma once

#include "cli/job_file.h"
#include "cli/job_pages.h"

#include <optional>
#include <string>
#include <vector>

namespace rtrain::cli {

[[nodiscard]] Option resume_from_option();

/// The newest complete checkpoint in a run's folder: checkpoint_000012 before checkpoint_000003. A folder
/// without any is taken for a checkpoint itself. kNotFound: no such folder, or an empty one.
[[nodiscard]] Result<std::string> checkpoint_in(const std::string& folder);

/// The checkpoint that --resume means, as an absolute path: a job's latest ("42", "12_3"; `get` asks the
/// head), or what checkpoint_in() finds at a path. A name with a '/' or of something that is no job is a
/// path. kInvalidArgument: several jobs.
[[nodiscard]] Result<std::string> checkpoint_of(const std::string& text, const std::string& cwd,
                                                const std::function<Result<Get>()>& get);

/// The command that a job came from, as far as it is known.
struct Origin {
  std::string verb = "submit", file = "JOB.json";
  std::vector<std::string> options = {};  ///< words that change the job: {"--set", "name=trial"}
};
/// The one that is being run. Its options without those that say when the job begins, which is past.
[[nodiscard]] Origin origin_of(const Call& call);
/// "rtrain run --resume /runs/x/checkpoint_000003 --set name=trial job.json": how a job that ended early goes
/// on. "" without a checkpoint, and of a job that SUCCEEDED. `job`: what it is called.
[[nodiscard]] std::string resume_command(const proto::ResultDoc& result, const std::string& job,
                                         const Origin& origin);

}  // namespace rtrain::cli
