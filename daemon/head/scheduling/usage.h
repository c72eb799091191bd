// What the jobs of each user and queue use, for their fair shares. No clock of its own.
#pragma once

#include "daemon/core/fair_share.h"
#include "daemon/core/job.h"
#include "daemon/head/deadlines.h"

#include <unordered_map>

namespace rtrain::head {

/// @thread the head's.
class Usage {
 public:
  explicit Usage(double half_life_s) : fair_share_(half_life_s) {}
  /// The job holds its places from now on.
  void begins(const core::JobState& state, SteadyTime now);
  /// Charges what the job held since it began or was charged last.
  void charge(JobId id, SteadyTime now, proto::UnixMs wall);
  void charge_all(SteadyTime now, proto::UnixMs wall);
  void ends(JobId id, SteadyTime now, proto::UnixMs wall);

  [[nodiscard]] core::FairShare& fair_share() { return fair_share_; }
  [[nodiscard]] const core::FairShare& fair_share() const { return fair_share_; }

 private:
  struct Holder {
    std::string queue, user;
    proto::Resources held;
    SteadyTime charged;
  };
  core::FairShare fair_share_;
  std::unordered_map<JobId, Holder> holders_;
};

}  // namespace rtrain::head
