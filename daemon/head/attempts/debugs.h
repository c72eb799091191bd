// Diagnoses of jobs: which ranks were asked where they are, what they answered, and who holds up whom.
#pragma once

#include "daemon/core/flights.h"
#include "daemon/core/job.h"
#include "daemon/head/deadlines.h"
#include "proto/api/api.h"
#include "proto/message/message.h"

#include <map>
#include <utility>
#include <vector>

namespace rtrain::head {

/// What a user asks for.
struct DebugRequest {
  std::vector<int> ranks = {};  ///< empty: all
  double timeout_s = 10;        ///< a rank that has not answered by then is silent
};
inline constexpr double kDebugTimeoutMax = 300;

/// Why the ranks are asked. Written as "asked", "hang", "failure".
enum class DebugReason { kAsked, kHang, kFailure };

/// The last diagnosis of each job. Nothing is done by time: a rank that does not answer is silent when
/// somebody looks after its time. Those of hangs and failures are kept, as the caller stores them.
/// @thread the head's.
class Debugs {
 public:
  /// The last so many are kept.
  static constexpr std::size_t kKept = 256;

  /// What to ask of the job's ranks. kConflict: the job does not run. kNotFound: there is no such rank.
  /// @param number unlike those of every request before, of other heads, too.
  [[nodiscard]] Result<proto::DebugRanks> begin(const core::JobState& state, const DebugRequest& request,
                                                DebugReason reason, std::int64_t number, SteadyTime now,
                                                proto::UnixMs wall);
  /// The answer of a rank; of an older request nothing happens. What a failing rank says unasked is kept for
  /// the diagnosis that follows.
  void hear(proto::RankDebug answer);
  /// The rank cannot be asked: its state is unknown.
  void fail_rank(const proto::RankKey& key, const std::string& why);
  /// Whether each rank has answered, or will not, by now.
  [[nodiscard]] bool is_done(const core::JobState& state, SteadyTime now);
  /// The last diagnosis of the job, as it stands; its verdict comes when it is done. Null: none is known.
  /// @lifetime until the next begin(), forget() or take_dropped(). It may be megabytes: not to be copied in
  /// passing.
  [[nodiscard]] const proto::DebugDoc* look(const core::JobState& state, SteadyTime now);
  /// Whether the verdict says more than that nobody waits.
  [[nodiscard]] bool has_found(JobId id) const;
  /// The diagnosis in a shorter form; nothing happens while its ranks are being asked.
  void replace(proto::DebugDoc doc);
  /// As it was stored by an earlier head.
  void recover(proto::DebugDoc doc);
  /// The attempt is over: what failing ranks said unasked is no longer needed.
  void forget_last_words(JobId id) { last_words_.erase(id); }
  void forget(JobId id);
  /// Jobs whose diagnoses were dropped to make room, once.
  [[nodiscard]] std::vector<JobId> take_dropped() { return std::exchange(dropped_, {}); }

 private:
  struct Debug {
    proto::DebugDoc doc;
    std::int64_t number = 0;
    SteadyTime until{};   ///< of the answers
    bool closed = false;  ///< the verdict stands: it is made once, of all answers
    bool found = false;   ///< it names a rank, or a collective in which they differ
  };
  static void settle(Debug& debug, const core::JobState& state, SteadyTime now);
  static void judge(Debug& debug);
  void forget_oldest();
  std::map<JobId, Debug> debugs_;
  std::map<JobId, std::map<int, proto::RankDebug>> last_words_;  ///< by rank, of the attempt that runs
  std::vector<JobId> dropped_;
};

}  // namespace rtrain::head
