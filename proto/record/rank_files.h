// What lies in a rank's folder on its node: <state_dir>/jobs/<job>/<attempt>/rank-<r>/.
//   log           stdout and stderr of the rank, appended
//   process.json  which process it is, written by its supervisor before anybody is told of it
//   outbox.jsonl  what the rank told its agent and may not be stored by the head yet, a message a line
//   exit.json     how the process ended, written durably by its supervisor; no record means LOST
//   crash         a signal of the rank's own making ended it: where it was, for its supervisor
//   error.json    the rank's own last words, or its supervisor's: why it failed
//   outcome.json  the training function returned, and what
#pragma once

#include "common/os/process.h"
#include "proto/message/message.h"

namespace rtrain::proto {

[[nodiscard]] std::string log_path(const std::string& rank_dir);
[[nodiscard]] std::string crash_path(const std::string& rank_dir);
[[nodiscard]] std::string attempt_dir(const std::string& state_dir, JobId job, Attempt attempt);
[[nodiscard]] std::string rank_dir(const std::string& state_dir, const RankKey& key);

/// Not synced: a process does not survive its machine.
[[nodiscard]] Result<Done> write_process(const std::string& rank_dir, const os::ProcessIdentity& process);
/// kNotFound: it was never started.
[[nodiscard]] Result<os::ProcessIdentity> read_process(const std::string& rank_dir);

[[nodiscard]] std::string outbox_path(const std::string& rank_dir);
/// What stands there, oldest first; nothing when there is no such file. A last line that was cut off is left
/// out.
[[nodiscard]] std::vector<Message> read_outbox(const std::string& rank_dir);

struct ExitRecord {
  RankKey key;
  std::int64_t pid = 0;
  ExitStatus status;
  std::int64_t ended_ms = 0;
};
[[nodiscard]] Result<Done> write_exit_record(const std::string& rank_dir, const ExitRecord& record);
/// kNotFound: there is none (yet).
[[nodiscard]] Result<ExitRecord> read_exit_record(const std::string& rank_dir);

[[nodiscard]] Result<Done> write_error(const std::string& rank_dir, const RankError& error);
[[nodiscard]] Result<RankError> read_error(const std::string& rank_dir);

/// The training function came to its end.
struct Outcome {
  Json return_value;     ///< null for void
  bool yielded = false;  ///< it made way because YieldAttempt asked, and has more to do
};
[[nodiscard]] Result<Done> write_outcome(const std::string& rank_dir, const Outcome& outcome);
[[nodiscard]] Result<Outcome> read_outcome(const std::string& rank_dir);

}  // namespace rtrain::proto
