#include "daemon/head/attempts/chosen_ranks.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace rtrain::head {

Result<std::vector<int>> chosen_ranks(const core::JobState& state, std::vector<int> ranks) {
  if (ranks.empty()) {
    ranks.resize(state.ranks.size());
    std::iota(ranks.begin(), ranks.end(), 0);
  }
  std::ranges::sort(ranks);
  ranks.erase(std::ranges::unique(ranks).begin(), ranks.end());
  for (const int rank : ranks)
    if (rank < 0 || std::cmp_greater_equal(rank, state.ranks.size()))
      return fail(Errc::kNotFound, "job " + core::name_of(state) + " has no rank " + std::to_string(rank) +
                                       ", it has " + std::to_string(state.ranks.size()));
  return ranks;
}

}  // namespace rtrain::head
