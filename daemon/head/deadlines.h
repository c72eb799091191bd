// When a job is due for something: kept by the dispatcher, looked at with every tick.
#pragma once

#include "common/base/duration.h"
#include "common/base/id.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

namespace rtrain::head {

using SteadyTime = std::chrono::steady_clock::time_point;
using Seconds = std::chrono::duration<double>;
/// Cut to kSecondsMax: more would not fit.
[[nodiscard]] inline SteadyTime::duration from_seconds(double seconds) {
  return std::chrono::duration_cast<SteadyTime::duration>(Seconds(bounded_seconds(seconds)));
}

/// What a deadline is for. One of each a job.
enum class DueFor {
  kTimeLimit,   ///< its attempt has run for as long as it may
  kYieldGrace,  ///< its attempt was asked to yield, and has had its time for it
  kRetry,       ///< it failed and may start again
  kHang,        ///< its ranks have had their time to say where they stand
  kValidation,  ///< VALIDATING: what still waits in the queue is given up
};

/// @thread the head's.
class Deadlines {
 public:
  struct Due {
    JobId id;
    DueFor what;
  };
  /// Replaces the job's deadline for `what`.
  void set(JobId id, DueFor what, SteadyTime at) {
    clear(id, what);
    at_[{id, what}] = at;
    order_.insert({at, id, what});
  }
  void clear(JobId id, DueFor what) {
    const auto found = at_.find({id, what});
    if (found == at_.end()) return;
    order_.erase({found->second, id, what});
    at_.erase(found);
  }
  /// Nothing when there is none.
  [[nodiscard]] std::optional<SteadyTime> at(JobId id, DueFor what) const {
    const auto found = at_.find({id, what});
    return found == at_.end() ? std::nullopt : std::optional(found->second);
  }
  /// Those whose time has come, earliest first; they are taken out.
  [[nodiscard]] std::vector<Due> take_due(SteadyTime now) {
    std::vector<Due> due;
    while (!order_.empty() && std::get<0>(*order_.begin()) <= now) {
      const auto [at, id, what] = *order_.begin();
      order_.erase(order_.begin());
      at_.erase({id, what});
      due.push_back({id, what});
    }
    return due;
  }

 private:
  std::map<std::pair<JobId, DueFor>, SteadyTime> at_;
  std::set<std::tuple<SteadyTime, JobId, DueFor>> order_;
};

}  // namespace rtrain::head
