// Sweeps: what jobs say of their trials goes into the fold of their sweep, and what follows is carried out.
#pragma once

#include "daemon/head/jobs/job_commands.h"
#include "daemon/head/sweeps/sweep_book.h"

#include <deque>

namespace rtrain::head {

/// Decides nothing: reports and ends of jobs go in, core::follow_up() and core::next() say what is due, and
/// each event is stored with what it makes happen to jobs, by the same turn. A head that dies anywhere goes
/// on from what is stored: what a trial's job has said and the fold has not heard is told again.
/// @thread the head's.
class Sweeps {
 public:
  Sweeps(HeadContext& context, Turn& turn, JobCommands& commands)
      : context_(context), turn_(turn), commands_(commands), book_(context.store) {}

  /// The sweep's number; its first jobs are submitted. `submission`: the client's key; the sweep that was
  /// submitted with it comes back. kConflict: the key was used for another sweep. kInvalidArgument: its queue
  /// does not take its jobs, or its trials come from outside. kNotFound: the jobs depend on one that
  /// nobody knows. kUnavailable: the store takes no writes.
  [[nodiscard]] Result<JobId> submit(proto::SweepSpec spec, const std::string& user = {},
                                     const std::string& submission = {});
  /// Nothing new starts until it is resumed; what runs goes on. kConflict: it does not run.
  [[nodiscard]] Result<Done> pause(JobId id, const std::string& by);
  /// kConflict: it is not paused.
  [[nodiscard]] Result<Done> resume(JobId id, const std::string& by);
  enum class StopWhen { kNextRung, kNow };
  /// Nothing new starts, and each running trial ends at its next rung or at once. Then it is CANCELLED.
  /// kConflict: it stops already, and this does not make it sooner.
  [[nodiscard]] Result<Done> stop(JobId id, StopWhen when, const std::string& by);

  /// These parameters are tried next, in the order of the calls; what they leave out is drawn. The number
  /// that the trial will have. `expected`: that number, so that a request which is sent twice is taken once;
  /// -1: any. kConflict: no trial is left to give, or it would have another number; kInvalidArgument names
  /// the parameter.
  [[nodiscard]] Result<std::int64_t> enqueue(JobId id, proto::Json params, std::int64_t expected,
                                             const std::string& by);
  /// kConflict: it has ended, stops, or would have too many.
  [[nodiscard]] Result<Done> extend(JobId id, std::int64_t trials, const std::string& by);
  /// Each trial is tried once more, with the same parameters and a new number, beyond limits.trials. The new
  /// numbers. kNotFound: no such trial; kConflict: one of them goes on.
  [[nodiscard]] Result<std::vector<std::int64_t>> retry(JobId id, const std::vector<std::int64_t>& trials,
                                                        const std::string& by);
  /// A trial that runs ends as one that is stopped by its schedule. kConflict: it does not run.
  [[nodiscard]] Result<Done> stop_trial(JobId id, std::int64_t trial, const std::string& by);

  // What happens to a job. Those of no sweep are ignored.
  void on_report(JobId job);
  void on_started(JobId job);   ///< it left the queue
  void on_released(JobId job);  ///< an attempt of it has ended
  void on_ended(JobId job);
  /// Checkpoints of the job that others are to go on from, and have not written one of their own: its rank 0
  /// keeps them.
  [[nodiscard]] std::vector<std::string> pins_of(JobId job) const;
  /// To the node of its rank 0, which has come back.
  void send_pins(JobId job);
  /// Some times a second: jobs that found no room, and limits of time.
  void tick();

  /// After a start of the head; the jobs are there.
  void recover(std::vector<store::SweepRecord> sweeps, const std::vector<store::Document>& documents);

  [[nodiscard]] const SweepBook& book() const { return book_; }
  /// Ended jobs of sweeps that go on: whoever asks for the best trial wants its checkpoint. With them those
  /// that their trials depend on.
  [[nodiscard]] std::set<JobId> needed_jobs() const;
  void forget(const std::vector<JobId>& gone) { book_.forget(gone); }

 private:
  struct Report {
    JobId sweep;
    std::int64_t trial = 0;
    JobId job;
    proto::Json metrics;
    std::int64_t reports = 0;
    bool checkpoint = false;
  };
  /// Of the sweeps that it names, the newest trials.
  [[nodiscard]] Result<std::vector<proto::KnownTrial>> known_to(const proto::SweepSpec& spec) const;
  /// Runs `work`, or leaves it to who is at work: what is carried out may come back here.
  void enter(std::function<void()> work);
  /// The sweep and trial of a job that is the trial's newest; nothing: of no sweep that goes on.
  [[nodiscard]] std::optional<proto::SweepTrial> trial_of(JobId job) const;
  [[nodiscard]] Report report_of(const core::JobState& job) const;

  /// One event with all that follows from it. False: it was refused, which is a bug where no user asked.
  bool take(JobId id, proto::SweepEvent event);
  [[nodiscard]] Result<Done> ask(JobId id, proto::SweepEvent event);
  /// Several together; after the first that is refused none is applied.
  [[nodiscard]] Result<Done> ask(JobId id, const std::vector<proto::SweepEvent>& events);
  /// The state of a sweep that goes on; kNotFound, kConflict: there is none.
  [[nodiscard]] Result<const core::SweepState*> going_on(JobId id) const;
  void carry_out(JobId id, const core::SweepState& state, const proto::SweepEvent& event);
  void on(JobId id, const core::SubmitTrial& submit);
  void on(JobId id, const core::PauseTrial& pause);
  void on(JobId id, const core::ReleaseTrial& release);
  void on(JobId id, const core::StopTrial& stop);
  void on(JobId id, const core::CloneTrial& clone);
  /// Whether it came to a rung. That of a job which the trial does not have any more comes to none.
  bool judge(const Report& report);
  /// What the store has of the reports since its last rung. How many it has of all.
  std::int64_t judge_again(JobId id, std::int64_t trial, const core::JobState& job);
  /// Of a trial that goes on: what it reported until it had yielded, so that the first report that comes to a
  /// rung decides there, however long a worker takes to yield and whenever a head dies.
  void judge_unheard(JobId id, std::int64_t trial);
  void end_trial(JobId id, std::int64_t trial, JobId job);
  /// Tells the jobs of the sweep, or of one trial, what they do not do yet of what it says.
  void settle(JobId id);
  void settle(JobId id, std::int64_t trial);
  /// Likewise the job that the trial had before it was cloned.
  void settle_replaced(JobId id, std::int64_t trial);
  void follow(JobId id);
  /// Promotes and suggests what may start.
  void refill(JobId id);
  /// The jobs of the sweep that found no room. False: there is none yet, or the sweep is paused.
  bool submit_waiting(JobId id);
  void cancel_unknown();
  void recover_trial(JobId id, std::int64_t trial);
  /// How many jobs of the sweep wait, as far as core::next() wants to know it.
  [[nodiscard]] std::int64_t waiting(const core::SweepState& state) const;
  [[nodiscard]] const core::TrialState* trial(JobId id, std::int64_t number) const;
  /// The state of a trial's job that has not ended; null: there is none.
  [[nodiscard]] const core::JobState* living_job(JobId id, std::int64_t number) const;
  /// That another trial can go on from: it stays until rank 0 has heard of pins.
  [[nodiscard]] static const proto::CheckpointRecord* pinnable(const core::JobState& job);
  [[nodiscard]] std::optional<proto::CheckpointRecord> find_checkpoint(JobId id, std::int64_t trial,
                                                                       std::int64_t donor) const;
  /// Tells rank 0 of the donor, and of those that had pins, when they are others than it was told last.
  void update_pins(JobId donor);
  void update_pins_of(JobId donor);
  [[nodiscard]] core::SweepUsage usage(const SweepEntry& entry) const;
  /// Stops it when a limit of time is hit.
  void look_at_limits(JobId id);

  HeadContext& context_;
  Turn& turn_;
  JobCommands& commands_;
  SweepBook book_;
  std::set<std::pair<JobId, std::int64_t>> unsubmitted_;  ///< trials whose jobs found no room
  std::map<std::pair<JobId, std::int64_t>, std::vector<Report>> unheard_;  ///< of trials that are paused
  std::map<JobId, std::vector<std::string>> pinned_;  ///< by job, as its rank 0 was told last
  std::set<JobId> cut_short_;                         ///< of which more may start than one call is allowed
  std::deque<std::function<void()>> due_;
  bool working_ = false;
  SteadyTime limits_looked_{};
};

}  // namespace rtrain::head
