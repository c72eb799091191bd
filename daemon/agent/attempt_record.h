// What an agent writes down of the attempts on its node, so that the next agent takes them up where this one
// ended.
//   <attempt>/launch.json   the message that started it; read by its ranks, too
//   <attempt>/live.json     its secret and where its control groups are; there until the head has stored the end of every rank
//   <attempt>/yield         it was asked to yield
//   <rank>/end.json         what the head is told of the rank's end; beside the files of proto/record/rank_files.h
// None is synced: they outlive the agent, not the machine, and neither do the ranks.
#pragma once

#include "proto/message/message.h"

namespace rtrain::agent {

struct LiveAttempt {
  proto::Launch launch;
  std::string secret;
  std::string cgroup_tree;  ///< "": its ranks have no control groups
  bool yielding = false;
};

/// Makes the folders of the attempt and its ranks, then writes it down: live.json comes last, so an attempt
/// that find_attempts() returns is whole. Leftovers of the same number (a head that lost its state) are
/// removed.
[[nodiscard]] Result<Done> record_attempt(const std::string& state_dir, const LiveAttempt& attempt);
void record_yield(const std::string& state_dir, JobId job, Attempt attempt);
/// The attempt is over and the head knows.
void forget_attempt(const std::string& state_dir, JobId job, Attempt attempt);
/// Every attempt that is not over. What cannot be read is logged and left alone: its ranks are lost.
[[nodiscard]] std::vector<LiveAttempt> find_attempts(const std::string& state_dir);
/// True when a job's folder (<state_dir>/jobs/<job>) holds an attempt that is not over.
[[nodiscard]] bool has_live_attempt(const std::string& job_dir);

void record_end(const std::string& rank_dir, const proto::RankEnded& end);
[[nodiscard]] std::optional<proto::RankEnded> read_end(const std::string& rank_dir);

}  // namespace rtrain::agent
