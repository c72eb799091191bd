// Profiles of running jobs: which ranks were asked for one, and what they answered.
#pragma once

#include "daemon/core/job.h"
#include "daemon/head/deadlines.h"
#include "proto/api/api.h"
#include "proto/message/message.h"

#include <map>
#include <optional>
#include <vector>

namespace rtrain::head {

/// What a user asks for.
struct ProfileRequest {
  std::int64_t steps = 20;       ///< training batches, 1 to kProfileStepsMax
  std::vector<int> ranks = {0};  ///< empty: all
  double timeout_s = 300;        ///< a rank that has not recorded all steps by then writes those that it has
};
inline constexpr std::int64_t kProfileStepsMax = 10'000;
inline constexpr double kProfileTimeoutMax = 86'400;

/// The last profile of each job, in memory: a head that starts again knows none. Nothing is done by time: a
/// rank that does not answer has failed when somebody looks after its time.
/// @thread the head's.
class Profiles {
 public:
  /// The last so many are kept.
  static constexpr std::size_t kKept = 256;

  /// What to ask of the job's ranks. kConflict: the job does not run or has no Trainer by its kind, a rank
  /// has ended, or is being profiled already. kNotFound: there is no such rank.
  /// @param number unlike those of every request before, of other heads, too.
  [[nodiscard]] Result<proto::ProfileRanks> begin(const core::JobState& state, const ProfileRequest& request,
                                                  std::int64_t number, SteadyTime now);
  /// The answer of a rank; of an older request nothing happens.
  void hear(const proto::RankProfile& answer);
  /// The rank cannot be asked.
  void fail_rank(const proto::RankKey& key, const std::string& why);
  /// The last profile of the job, as it stands. Nothing: none is known.
  [[nodiscard]] std::optional<proto::ProfileDoc> look(const core::JobState& state, SteadyTime now);

 private:
  struct Profile {
    proto::ProfileDoc doc;
    std::int64_t number = 0;
    SteadyTime until;  ///< of the answers
  };
  static void settle(Profile& profile, const core::JobState& state, SteadyTime now);
  static void finish(proto::ProfiledRankDoc& rank, const std::string& error);
  void forget_oldest();
  std::map<JobId, Profile> profiles_;
};

}  // namespace rtrain::head
