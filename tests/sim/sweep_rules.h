// What a sweep owes its trials and its users, known apart from the fold that decides: read off its events as
// they are stored, and off what its jobs are.
#pragma once

#include "daemon/core/sweep/sweep.h"
#include "tests/sim/disk.h"
#include "tests/sim/plan.h"

#include <map>
#include <set>

namespace rtrain::sim {

class Referee;

class SweepRules {
 public:
  SweepRules(Referee& referee, const Disk& disk, const Workload& workload)
      : referee_(referee), disk_(disk), workload_(workload) {}

  /// Before the event is on the disk.
  void stored(JobId id, const proto::StampedSweepEvent& event);
  void job_stored(JobId job, const proto::SweepTrial& of);
  /// A commit is whole: what its decisions make of jobs was in it.
  void committed();
  /// An attempt of the job of a trial.
  void placed(JobId job);

  /// The run is over.
  void check_disk();
  /// Decisions that were compared with those of a run in which nothing goes wrong.
  [[nodiscard]] std::int64_t compared() const { return compared_; }

 private:
  struct Known {
    std::shared_ptr<const proto::SweepSpec> spec;
    std::shared_ptr<const core::Schedule> schedule;  ///< as it was submitted: it says where its rungs are
    proto::UnixMs submitted_ms = 0;
    bool paused = false, stopping = false, ended = false;
    std::int64_t at_target = -1;
    std::set<std::pair<std::int64_t, int>> rungs;
    std::map<std::int64_t, bool> stopped;  ///< trials by number, and whether they had finished
    std::map<std::int64_t, JobId> jobs;
  };
  void on(JobId id, Known& known, proto::UnixMs at, const proto::SweepEvent& event);
  void starts(JobId id, const Known& known, proto::UnixMs at, std::int64_t trial);
  void reached(JobId id, Known& known, const proto::RungReached& event);
  void ended(JobId id, Known& known, const proto::TrialEnded& event);
  void look_at_target(Known& known, std::int64_t trial, const std::optional<double>& value);
  void check_carried_out(JobId id, const Known& known, const proto::SweepEvent& decision);
  void check_sweep(JobId id, const Disk::Sweep& sweep);
  void check_job(const std::string& sweep, const core::SweepState& state, std::int64_t number);
  void compare(JobId id, const Disk::Sweep& sweep);
  [[nodiscard]] const JobPlan& plan(const Known& known, std::int64_t trial) const;

  Referee& referee_;
  const Disk& disk_;
  const Workload& workload_;
  std::map<JobId, Known> sweeps_;
  std::map<std::pair<JobId, std::int64_t>, JobId> trial_jobs_;  ///< the newest, by sweep and trial
  std::set<std::pair<JobId, std::int64_t>> cloned_;  ///< trials that go on in a job that is not submitted yet
  std::map<JobId, proto::SweepTrial> trials_;        ///< by job
  /// Of the commit under way the newest about each trial.
  std::map<std::pair<JobId, std::int64_t>, proto::SweepEvent> decisions_;
  std::int64_t compared_ = 0;
};

}  // namespace rtrain::sim
