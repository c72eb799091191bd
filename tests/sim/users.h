// The people of the run: they submit, cancel and look, through connections that may break under every
// request.
#pragma once

#include "tests/sim/cluster.h"

namespace rtrain::sim {

class Users {
 public:
  explicit Users(Cluster& cluster);
  /// Everything that was to be submitted is acknowledged, everything that was to be cancelled is answered.
  [[nodiscard]] bool content() const { return open_ == 0; }

 private:
  void submit(const JobPlan& plan);
  void cancel(JobId id, const std::string& name);
  void hold(JobId id, double held_s);
  void release(JobId id);
  void submit_sweep(const SweepPlan& plan);
  /// Until it is answered, then `then`; that the sweep does not change so, or has ended, is an answer.
  /// Jobs of trials that are paused: what their sweep does must leave a user's hold alone.
  void hold_paused(JobId sweep, const SweepPlan& plan, int times);
  void change_sweep(JobId id, std::function<Result<Done>(head::Sweeps&, JobId)> change,
                    std::function<void()> then);
  void look();
  void want_a_place();
  /// An operator ends what runs far longer than any job does: those that hang, and whose acknowledgement was
  /// lost.
  void clean_up();
  [[nodiscard]] std::optional<proto::JobSpec> spec_of(const JobPlan& plan) const;
  /// Cancels, holds or releases the job, or all of an array.
  void change(JobId id, const proto::JobEvent& event,
              std::function<void(const Result<std::vector<JobId>>&)> told,
              std::function<void(const Result<std::vector<JobId>>&)> answered, std::function<void()> lost);
  /// `again` after a pause.
  void later(std::function<void()> again);

  Cluster& cluster_;
  World& world_;
  std::map<std::string, JobId> numbers_;  ///< by name, of those that were acknowledged to a user
  std::map<std::string, int> refused_;    ///< by name, how often
  int open_ = 0;
};

}  // namespace rtrain::sim
