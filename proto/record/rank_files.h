// What lies in a rank's folder on its node: <state_dir>/jobs/<job>/<attempt>/rank-<r>/.
//   log           stdout and stderr of the rank, appended
//   exit.json     how the process ended, written durably by its supervisor; no record means LOST
//   error.json    the rank's own last words: why it failed
//   outcome.json  the training function returned, and what
#pragma once

#include "proto/message/message.h"

namespace rtrain::proto {

[[nodiscard]] std::string log_path(const std::string& rank_dir);
[[nodiscard]] std::string attempt_dir(const std::string& state_dir, JobId job, Attempt attempt);
[[nodiscard]] std::string rank_dir(const std::string& state_dir, const RankKey& key);

struct ExitRecord { RankKey key; std::int64_t pid = 0; ExitStatus status; std::int64_t ended_ms = 0; };
[[nodiscard]] Result<Done> write_exit_record(const std::string& rank_dir, const ExitRecord& record);
/// kNotFound: there is none (yet).
[[nodiscard]] Result<ExitRecord> read_exit_record(const std::string& rank_dir);

[[nodiscard]] Result<Done> write_error(const std::string& rank_dir, const RankError& error);
[[nodiscard]] Result<RankError> read_error(const std::string& rank_dir);

/// The training function returned `value` (null for void).
[[nodiscard]] Result<Done> write_outcome(const std::string& rank_dir, const Json& value);
[[nodiscard]] Result<Json> read_outcome(const std::string& rank_dir);

}  // namespace rtrain::proto
