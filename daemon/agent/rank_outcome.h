// How a rank ended, from everything that is known of it. Pure but for reading its folder.
#pragma once

#include "proto/record/rank_files.h"

namespace rtrain::agent {

/// The rank's own words, if it left any.
struct LastWords {
  std::optional<proto::RankError> error;  ///< error.json
  std::optional<proto::Outcome> outcome;  ///< outcome.json
  std::vector<std::string> log_tail;      ///< at most 20 lines
  std::string unreadable;                 ///< why outcome.json, which is there, cannot be read; else ""
};
[[nodiscard]] LastWords read_last_words(const std::string& rank_dir);

/// The message for the head. A train_func rank succeeded only when its function returned: exit code 0 alone
/// is not enough. `asked_to_yield`: a program that does not speak to its agent was sent SIGTERM to make way;
/// however it ends then, it has more to do.
[[nodiscard]] proto::RankEnded compose_end(const proto::RankKey& key, const proto::ExitStatus& status,
                                           bool is_train_func, LastWords words, bool asked_to_yield = false);

}  // namespace rtrain::agent
