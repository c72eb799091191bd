// Which rank waits for whom: what the ranks of an attempt say of their collectives, compared. Pure.
#pragma once

#include "proto/message/flight.h"

#include <optional>
#include <string>
#include <vector>

namespace rtrain::core {

/// One rank of the attempt, as far as it is known.
struct RankView {
  enum class Presence : std::uint8_t {
    kAnswered,
    kUnknown,  ///< nobody asked it, or it cannot be asked
    kSilent,   ///< it was asked and does not answer
    kEnded,    ///< its process has ended; it may have left a snapshot
  };
  int rank = 0;
  Presence presence = Presence::kUnknown;
  const proto::RankSnapshot* snapshot = nullptr;  ///< null: there is none
};

/// What one rank is told to be at.
struct RankWait {
  std::string
      where;  ///< "all_reduce #83 of Float [4, 8]", "the next batch of its loader"; "" nothing is known
  double where_s = 0;
  std::vector<int> waits_for;  ///< ascending
};

struct FlightReport {
  std::vector<RankWait> ranks;  ///< in the order of the views
  std::string verdict;          ///< a sentence: who holds up whom, where
  std::optional<int> culprit;   ///< the one rank that the others wait for
  /// A collective in which the ranks differ, or that a rank has not come to: the verdict says more than that
  /// nobody waits.
  bool found = false;
};

/// The order of the collectives of a group is the same on all ranks, so a rank that has started fewer of them
/// is behind, and ranks that have started different ones under one number will never meet. The culprit is the
/// rank that others wait for, directly or by way of others, and that waits for none itself; where the ranks
/// of a collective differ, it is the one that differs from all others.
[[nodiscard]] FlightReport compare_flights(const std::vector<RankView>& views);

/// "all_reduce(sum) #83 of Float [4, 8] for layers.3, in the group shard". @param group null: the job.
[[nodiscard]] std::string flight_words(const proto::Flight& flight, const proto::FlightGroup* group);

}  // namespace rtrain::core
