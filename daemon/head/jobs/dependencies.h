// Which jobs wait for which: an index, so that an event of a job for which nobody waits costs one look-up.
// Pure.
#pragma once

#include "proto/jobspec/scheduling.h"

#include <functional>
#include <map>
#include <set>
#include <unordered_map>

namespace rtrain::head {

/// How far a job has come, or all jobs of an array.
struct Standing {
  int jobs = 1;
  int started = 0;  ///< or ended without
  int ended = 0;
  int failed = 0;          ///< of those that ended: without success
  bool forgotten = false;  ///< of one at least nobody knows how it ended
  int stuck = 0;           ///< wait, and can never start
  friend bool operator==(const Standing&, const Standing&) = default;
};
/// Of a job that is known no more: it ended, nobody can say how.
inline constexpr Standing kForgotten{1, 1, 1, 1, true};

class Dependencies {
 public:
  using StandingOf = std::function<Standing(JobId)>;
  /// `id` waits. What holds already is asked once, here, and holds for good: nothing that ended starts again.
  void add(JobId id, const std::vector<proto::Dependency>& on, const StandingOf& standing_of);
  /// It waits no longer.
  void remove(JobId id);
  /// True when it waits for what can never be.
  [[nodiscard]] bool never(JobId id) const;
  /// True when the standing of `target` matters to somebody.
  [[nodiscard]] bool awaited(JobId target) const { return dependents_.contains(target); }
  /// `target` has come so far. The jobs for which that changes something.
  [[nodiscard]] std::vector<JobId> reached(JobId target, const Standing& standing);
  /// What keeps it back, "" for nothing: "waits for job 12 to succeed (afterok:12)", or why that can never
  /// be.
  [[nodiscard]] std::string reason(JobId id) const;

 private:
  /// Why a dependency can never hold.
  enum class Never { kNo, kFailed, kPruned, kStuck };
  struct Unmet {
    proto::Dependency on;
    Never never = Never::kNo;
  };
  static Never why_never(const proto::Dependency& on, const Standing& standing);
  static const char* never_words(Never why);
  void forget(JobId target, JobId dependent);

  std::unordered_map<JobId, std::vector<Unmet>> unmet_;    ///< by the job that waits
  std::unordered_map<JobId, std::set<JobId>> dependents_;  ///< by the job that is waited for
};

}  // namespace rtrain::head
