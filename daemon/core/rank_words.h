// Ranks in sentences.
#pragma once

#include "common/base/runs.h"

#include <string>
#include <vector>

namespace rtrain::core {

/// "rank 3", "ranks 0, 2-7"
[[nodiscard]] inline std::string rank_words(const std::vector<int>& ranks) {
  return (ranks.size() == 1 ? "rank " : "ranks ") + runs_text(ranks);
}

}  // namespace rtrain::core
