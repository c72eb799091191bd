// What the ranks of a silent attempt say of themselves, put together for a person. Pure.
#pragma once

#include "proto/message/message.h"

#include <map>
#include <vector>

namespace rtrain::core {

struct HangReport {
  /// "rank 1 stands at step 41 outside any collective, the last was allreduce #82; rank 0 waits in allreduce
  /// #83 for 30 s, after step 41": who holds up the others first. Ranks that stand alike are named together.
  std::string message;
  std::optional<int> culprit;  ///< the only rank that the others wait for
};

/// @param ranks  those that have not ended, in order
/// @param words  what was heard, by rank; a rank that says nothing is the first to be suspected
[[nodiscard]] HangReport explain_hang(const std::vector<int>& ranks,
                                      const std::map<int, proto::RankDiagnosis>& words);

}  // namespace rtrain::core
