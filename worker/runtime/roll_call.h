// How the ranks of a job find out that they no longer make the same calls, long before a collective times
// out. Costs nothing while they do: a rank writes to the store only when it has not moved for a while, and
// others read it only while they wait.
#pragma once

#include "worker/runtime/key_value_store.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace rtrain::runtime {

/// Where a rank is among the collectives of the job. All ranks enter the same ones in the same order, so
/// equal numbers mean equal collectives; two ranks with the same number and different names will wait for
/// each other in vain.
struct Whereabouts {
  enum class Kind { kWaits, kOutside, kReturned };
  std::int64_t seq = 0;  ///< of the last collective that was entered, from 1
  Kind kind = Kind::kOutside;
  std::string place;  ///< the name of that collective
};

/// Keys: "at/<rank>" where a rank is that has not moved for a while; "meet/<seq>/<rank>" the place at which
/// it meets the others.
/// @thread one thread each, with a store of its own.
class RollCall {
 public:
  RollCall(KeyValueStore& store, int rank, int world_size)
      : store_(store), rank_(rank), world_size_(world_size) {}

  void say(const Whereabouts& here);
  /// While this rank waits in collective `seq` called `place`: the ranks that will never join it and where
  /// they are, "" while none is known. "rank 1 is in all_reduce of gradients".
  [[nodiscard]] std::string absent(std::int64_t seq, const std::string& place);
  /// The ranks that are known not to have come to collective `seq` yet, and where they are; "" none is known.
  [[nodiscard]] std::string late(std::int64_t seq);
  /// Ranks that have entered a collective after `seq`, which this rank will not enter any more because it has
  /// returned: they wait in it, or, on a GPU, for what it gives.
  [[nodiscard]] bool is_missed(std::int64_t seq);
  /// Returns "" when all ranks have come to collective `seq` with the same `place`, else which ranks are
  /// elsewhere. `wait_more()` pauses and is called between looks; false gives up.
  [[nodiscard]] std::string meet(std::int64_t seq, const std::string& place,
                                 const std::function<bool()>& wait_more);

 private:
  [[nodiscard]] std::optional<Whereabouts> where(int rank);
  KeyValueStore& store_;
  int rank_, world_size_;
  std::vector<std::int64_t> own_meetings_;  ///< whose keys are still in the store
};

/// The name under which a meeting counts among the collectives.
inline constexpr const char* kMeeting = "meeting of the ranks";

/// "5 on ranks 0 and 2; 4 on rank 1": equal values together, in the order of the ranks. @param values by
/// rank. @param names of the ranks; empty: they are called by their places in `values`.
[[nodiscard]] std::string grouped_by_value(const std::vector<std::string>& values,
                                           std::span<const int> names = {});

}  // namespace rtrain::runtime
