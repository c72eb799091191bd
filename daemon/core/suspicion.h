// Which node is to blame: infrastructure failures of several different jobs on one node within a while make
// it suspected. Pure.
#pragma once

#include "common/base/id.h"
#include "proto/event/event.h"

#include <vector>

namespace rtrain::core {

inline constexpr std::int64_t kSuspicionWindowMs = 3'600'000;  ///< an incident is forgotten after an hour
inline constexpr std::int64_t kSuspicionHalfLifeMs = 600'000;  ///< and weighs half as much every ten minutes
/// one job that fails again and again says nothing of its node
inline constexpr int kSuspicionJobsMin = 2;

/// True when the failure speaks against the node of its rank: infrastructure, and neither a hang nor a
/// connection that broke, which any rank may tell of.
[[nodiscard]] bool blames_node(const proto::AttemptFailed& failed);

/// What happened on one node. Times are milliseconds of any clock that does not jump.
class Incidents {
 public:
  /// A failure of `job`; its newest counts.
  void add(JobId job, std::int64_t now_ms, std::string why);
  /// 0: not suspected. Else every job of the window adds up to 1, by the age of its newest failure.
  [[nodiscard]] double suspicion(std::int64_t now_ms) const;
  /// "infrastructure failures of 3 jobs within the last hour, the newest 4 min ago: job 12: rank 0 on node b:
  /// was lost"; "" when not suspected.
  [[nodiscard]] std::string reason(std::int64_t now_ms) const;
  [[nodiscard]] bool empty() const { return incidents_.empty(); }

 private:
  struct Incident {
    JobId job;
    std::int64_t at_ms = 0;
    std::string why;
  };
  [[nodiscard]] bool counts(const Incident& incident, std::int64_t now_ms) const {
    return now_ms - incident.at_ms < kSuspicionWindowMs;
  }
  std::vector<Incident> incidents_;  ///< one a job, oldest first
};

}  // namespace rtrain::core
