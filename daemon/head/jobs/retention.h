// Which jobs that ended are forgotten: those that the settings or a user name, but for those that others
// still need.
#pragma once

#include "daemon/head/head_context.h"
#include "daemon/head/jobs/job_rows.h"

namespace rtrain::head {

/// @thread the head's.
class Retention {
 public:
  /// What follows when jobs or sweeps are gone, and what must stay.
  struct Others {
    std::function<void(JobId)> changed;  ///< for each job that is gone: who follows one is told
    std::function<std::set<JobId>()> needed;
    std::function<void(const std::vector<JobId>&)> sweeps_gone;
  };
  Retention(HeadContext& context, JobRows& rows, Others others);
  /// Forgets jobs that ended, as Journal::prune() says, but for those that others need: a job that waits for
  /// one, jobs of an array or a sweep that has not ended. `done` may be called more than once, as there.
  void prune(store::PruneRequest request, std::function<void(const store::Pruned&)> done);
  /// What the settings say of jobs that ended: a minute after the start, and then each hour.
  void tick();

 private:
  [[nodiscard]] std::set<JobId> needed_by_others() const;

  HeadContext& context_;
  JobRows& rows_;
  Others others_;
  SteadyTime due_at_;
};

}  // namespace rtrain::head
