// Brings decisions to the agents and their news to the jobs: scheduling, launching, stopping, loss of nodes.
#pragma once

#include "daemon/core/hang.h"
#include "daemon/core/scheduler.h"
#include "daemon/head/array_turns.h"
#include "daemon/head/deadlines.h"
#include "daemon/head/dependencies.h"
#include "daemon/head/job_book.h"
#include "daemon/head/job_rows.h"
#include "daemon/head/node_setting.h"
#include "daemon/head/node_table.h"
#include "daemon/head/output_gate.h"
#include "daemon/head/profiles.h"
#include "daemon/head/reservations.h"
#include "daemon/head/usage.h"
#include "daemon/head/waiting.h"
#include "proto/config/config.h"

#include <functional>
#include <limits>
#include <set>

namespace rtrain::head {

/// What the dispatcher knows of time; a test gives its own.
struct Clock {
  std::function<SteadyTime()> steady;  ///< for leases
  std::function<proto::UnixMs()>
      wall;  ///< for records, and for what is due at a time of the day; one that does not jump
  /// what is wrong with the machine's clock, "" nothing: as long as there is a doubt no job is forgotten by
  /// age
  std::function<std::string()> doubt = {};
  [[nodiscard]] static Clock real();
};

/// @thread the head's.
class Dispatcher {
 public:
  using ChangeSink = std::function<void(JobId)>;
  /// The store must outlive it. Goes on where the store's last words left off: nodes that held ranks get a
  /// full lease from now.
  Dispatcher(proto::HeadConfig config, JobBook::Store store, store::Recovered recovered, ChangeSink changed,
             Clock clock = Clock::real(), std::string origin = {});

  /// Passes over the queue are not made at once but when pass() is called, which `due` asks for: one for many
  /// changes. Not called: a pass follows each change at once.
  void defer_passes(std::function<void()> due) { defer_pass_ = std::move(due); }
  /// Starts what can start and asks for the places that others need, if anything changed since the last time.
  void pass();

  /// One job, or one for each index of an array: then the number is the array's, which is its first job's.
  /// kNotFound: it depends on a job that nobody knows. kInvalidArgument: its queue does not take it. A job
  /// without a time limit gets that of its queue. `submission`: the client's key; the number that was given
  /// out when it was used first comes back, and nothing is submitted (JobBook::submitted_before()).
  [[nodiscard]] Result<JobId> submit(proto::JobSpec spec, const std::string& user = {},
                                     const std::string& submission = {}) {
    return submit(std::move(spec), user, submission, std::nullopt);
  }
  [[nodiscard]] Result<Done> cancel(JobId id, const std::string& by);
  /// A held job that waits does not start until it is released; one that runs goes on.
  [[nodiscard]] Result<Done> hold(JobId id, const std::string& by);
  [[nodiscard]] Result<Done> release(JobId id, const std::string& by);
  /// What cancel, hold and release do, to every job of an array, or those with `indices`. The jobs that
  /// changed; when none did, the first refusal.
  [[nodiscard]] Result<std::vector<JobId>> for_array(JobId array,
                                                     const std::optional<std::vector<int>>& indices,
                                                     const proto::JobEvent& event);
  /// The job with this index of an array.
  [[nodiscard]] Result<JobId> member(JobId array, int index) const;
  /// Asks the job's attempt to write a checkpoint and to end, and stops it after grace_s. It goes back into
  /// the queue. kConflict when it has no attempt, or one that stops already.
  [[nodiscard]] Result<Done> yield(JobId id, proto::YieldCause cause, const std::string& reason,
                                   double grace_s);
  /// Asks ranks of a running job to record their next training batches. What becomes of it: profile(id). The
  /// errors are those of Profiles::begin().
  [[nodiscard]] Result<proto::ProfileDoc> profile(JobId id, const ProfileRequest& request,
                                                  const std::string& by);
  /// The last profile of the job that was asked for. kNotFound: this head knows none.
  [[nodiscard]] Result<proto::ProfileDoc> profile(JobId id);
  /// Worked out when asked. Empty for a job that does not wait.
  [[nodiscard]] Waiting waiting(JobId id) const;
  /// What would happen to this job if it were submitted now.
  [[nodiscard]] core::Decision plan(const proto::JobSpec& spec) const;
  [[nodiscard]] core::Decision plan(const proto::ScalingConfig& scaling) const;

  // dispatcher_nodes.cpp. kNotFound: there is no such node.
  /// Nothing new starts on the node; running jobs continue.
  [[nodiscard]] Result<Done> cordon(const std::string& node, const std::string& reason,
                                    const std::string& by);
  /// Takes back a cordon or a drain. Jobs that were asked to leave leave all the same.
  [[nodiscard]] Result<Done> uncordon(const std::string& node, const std::string& by);
  /// Cordons, and asks every job there to write a checkpoint and to yield: each gets its preempt_grace_s, but
  /// no longer than the deadline. What is left at the deadline is stopped.
  [[nodiscard]] Result<Done> drain(const std::string& node, const std::string& reason,
                                   std::optional<double> deadline_s, const std::string& by);
  /// Sets labels, or takes them away. kInvalidArgument: no label, or one that is rtrain's own.
  [[nodiscard]] Result<Done> label(const std::string& node,
                                   const std::map<std::string, std::optional<std::string>>& changes,
                                   const std::string& by);
  /// GPUs that are out of service are given out again, whatever the agent says of them; none named: all.
  /// kConflict: one is in service.
  [[nodiscard]] Result<Done> return_gpus(const std::string& node, const std::vector<int>& gpus,
                                         const std::string& by);
  /// A node that is lost, and what was said of it, is forgotten. kConflict: it is not lost.
  [[nodiscard]] Result<Done> forget_node(const std::string& node, const std::string& by);
  [[nodiscard]] const NodeSetting& setting(const std::string& node) const;
  /// Those with a rank on the node that has not ended.
  [[nodiscard]] std::set<JobId> jobs_on(const std::string& node) const;
  /// kInvalidArgument, kNotFound (a node), kConflict: check_reservation().
  [[nodiscard]] Result<Done> reserve(core::Reservation reservation);
  [[nodiscard]] Result<Done> unreserve(const std::string& name, const std::string& by);
  [[nodiscard]] const Reservations& reservations() const { return reservations_; }

  /// May it? Then Welcome goes out, and agent_joined() follows.
  [[nodiscard]] Result<Done> agent_joins(const std::shared_ptr<AgentLine>& session,
                                         const proto::Hello& hello);
  void agent_joined(const std::shared_ptr<AgentLine>& session, const proto::Hello& hello);
  void agent_left(AgentLine& session);
  void agent_says(AgentLine& session, proto::Message message);
  /// Some times a second. Nodes whose silence lasted longer than their lease are lost, and the ranks on them;
  /// what is due for a job is done: its time limit, the end of its grace to yield, its retry, the verdict on
  /// a hang.
  void tick();

  /// Forgets jobs that ended, as Journal::prune() says, but for those that others need: a job that waits for
  /// one, jobs of an array that has not ended.
  void prune(store::PruneRequest request, std::function<void(const store::Pruned&)> told);

  /// What the outside may be told, and when.
  [[nodiscard]] OutputGate& gate() { return gate_; }
  [[nodiscard]] store::Health health() const { return store_.journal.health(); }

  [[nodiscard]] const JobBook& jobs() const { return book_; }
  [[nodiscard]] JobRows& rows() { return rows_; }
  /// Grows when what a list of jobs says may be different: with every change, and each second that somebody
  /// waits.
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  [[nodiscard]] SteadyTime now() const { return clock_.steady(); }
  [[nodiscard]] proto::UnixMs wall() const { return clock_.wall(); }
  [[nodiscard]] std::string clock_doubt() const { return clock_.doubt ? clock_.doubt() : ""; }
  /// After so long without a word its agent is overdue; after so long it is lost.
  [[nodiscard]] double overdue_s() const { return kOverdueBeats * config_.heartbeat_s; }
  [[nodiscard]] double lost_after_s() const { return config_.lease_s + 2 * config_.heartbeat_s; }
  [[nodiscard]] proto::UnixMs started_ms() const { return started_ms_; }
  /// What could not be read when this head started.
  [[nodiscard]] const std::vector<store::SetAside>& set_aside() const { return set_aside_; }
  /// Null: the job was not set aside.
  [[nodiscard]] const store::SetAside* set_aside(JobId id) const;
  /// Those that wait, in the order in which they are looked at, as far as `at_most`.
  [[nodiscard]] std::vector<JobId> queue(std::size_t at_most = std::numeric_limits<std::size_t>::max()) const;
  [[nodiscard]] const core::Planner& planner() const { return planner_; }
  [[nodiscard]] NodeTable& nodes() { return nodes_; }
  [[nodiscard]] const NodeTable& nodes() const { return nodes_; }

 private:
  static constexpr double kOverdueBeats = 3;
  void act(JobId id, const core::Action& action);
  [[nodiscard]] Result<JobId> submit(proto::JobSpec spec, const std::string& user,
                                     const std::string& submission,
                                     std::optional<proto::ValidatedCheckpoint> validates);
  // dispatcher_validation.cpp: jobs that validate checkpoints.
  void start_validation(JobId id, std::int64_t index);
  void end_validation(JobId id, proto::ValidationEnded ended);
  /// `child` has ended: whatever it validates is told.
  void note_validation_ended(JobId child);
  [[nodiscard]] std::vector<std::pair<std::int64_t, JobId>> validations_of(JobId parent) const;
  void cancel_validations(JobId parent);
  void await_validations(JobId id);
  void give_up_validations(JobId id);
  void start_unstarted_validations();
  void tell_validated(JobId id, const proto::CheckpointRecord& checkpoint, const std::string& node);
  void tell_all_validated(JobId id, const std::string& node);
  void recover_validations();
  // dispatcher_life.cpp: what happens to an attempt with time.
  void placed(JobId id);
  void entered_queue(JobId id);
  void ended(JobId id);
  void ask_to_yield(JobId id, const core::YieldRanks& yield);
  void do_due(const Deadlines::Due& due);
  void on_progress(const proto::RankProgress& progress);
  void hear_diagnosis(proto::RankDiagnosis diagnosis);
  void judge_hang(JobId id);
  void recover_deadlines(const core::JobState& state);
  /// StopAttempt or YieldAttempt, for the agent of `node` that comes back with ranks of an attempt that is
  /// being stopped.
  [[nodiscard]] proto::Message stop_again(const core::JobState& state, const std::string& node) const;
  // dispatcher_nodes.cpp
  [[nodiscard]] Result<NodeSetting*> setting_of(const std::string& node);
  void recover_documents(const std::vector<store::Document>& documents);
  /// What was said of the node goes into the scheduler's view of it.
  void apply_setting(const std::string& node);
  void keep_setting(const std::string& node);
  void hear_health(const std::string& node, const proto::NodeHealth& health);
  /// A draining node: its jobs are asked to leave.
  void empty_node(const std::string& node);
  /// Seconds until the deadline of the node's drain, 0 from then on; nothing without one.
  [[nodiscard]] std::optional<double> drain_left_s(const std::string& node) const;
  void note_drained(const std::string& node);
  void end_drains();
  /// Jobs whose time to begin has come.
  void start_begun();
  /// Reservations that begin or are over.
  void turn_reservations();
  // dispatcher_retention.cpp
  [[nodiscard]] std::set<JobId> needed_by_others() const;
  /// What the settings say of jobs that ended: a minute after the start, and then each hour.
  void retain();
  void reservations_changed();

  // dispatcher_submit.cpp: what keeps a job from a place, told of every job that comes, starts or ends.
  void stands_in_line(JobId id);
  void leaves_line(JobId id);
  void note_started(JobId id);
  void note_ended(JobId id);
  void note_standing(JobId id, const Standing& news);
  /// @return those for which it changes something.
  std::vector<JobId> tell_dependents(JobId id, const Standing& news);
  /// After an event to a job that waited: it may have ended, or be held.
  void settle(JobId id);
  /// keeps_from_start() may say something else of these.
  void recheck(const std::vector<JobId>& ids);
  [[nodiscard]] Standing standing(JobId target);
  [[nodiscard]] Result<std::vector<JobId>> members(JobId array,
                                                   const std::optional<std::vector<int>>& indices) const;
  /// "" when the job may be placed, else why it may not.
  [[nodiscard]] std::string keeps_from_start(const core::JobState& state) const;
  // dispatcher_schedule.cpp: the planner.
  [[nodiscard]] std::string reason_of(const core::Explanation& explanation) const;
  void set_up_planner(const std::vector<store::Document>& documents);
  [[nodiscard]] core::RunningJob running_of(const core::JobState& state) const;
  void on_allocated(JobId id);
  void on_released(JobId id);
  /// Tells the planner where the job stands now: after each of its events, and when what keeps it from its
  /// start has changed.
  void update_planner(JobId id);
  /// Something changed that a pass must look at.
  void schedule();
  /// What is due by time alone: accounts of usage, reservations that begin, jobs that may be resized.
  void pass_time();
  /// True when the rank is of its job's current attempt and lives on that node.
  [[nodiscard]] bool lives_on(const proto::RankKey& key, const std::string& node) const;
  void reserve_port(JobId id);
  void launch(JobId id, int master_port);
  void stop(JobId id, const core::StopRanks& stop);
  /// Sends when what led to it is durable; runs `lost` when the connection is gone by then.
  void tell(const std::shared_ptr<AgentLine>& session, proto::Message message,
            std::function<void()> lost = {});
  void apply(JobId id, proto::JobEvent event);
  void recover(store::Recovered recovered);
  [[nodiscard]] std::vector<proto::RankPlacement> places(JobId id) const;
  /// The nodes with ranks of the current attempt that have not ended.
  [[nodiscard]] std::set<std::string> living_nodes(JobId id) const;
  /// Ends every unfinished rank of the current attempt for which `where` holds, as lost.
  template <class Where>
  void lose_ranks(JobId id, const std::string& why, Where where);

  proto::HeadConfig config_;
  JobBook::Store store_;
  OutputGate gate_;
  ChangeSink changed_;
  Clock clock_;
  JobBook book_;
  NodeTable nodes_;
  Deadlines deadlines_;
  std::map<std::string, NodeSetting> settings_;    ///< by node; only those of which something was said
  std::map<std::string, SteadyTime> drain_until_;  ///< by node: drains with a deadline
  Reservations reservations_;
  proto::UnixMs reservations_turned_ms_ = 0;
  /// jobs that wait for a time of the wall clock: scheduling.begin_at
  std::set<std::pair<proto::UnixMs, JobId>> begins_;
  Dependencies dependencies_;
  std::map<JobId, Standing> array_standings_;  ///< by array: of those that somebody waits for
  ArrayTurns turns_;
  /// by rank, of attempts that seem to hang
  std::map<JobId, std::map<int, proto::RankDiagnosis>> diagnoses_;
  /// by parent and index of the checkpoint: the jobs that validate and have not ended
  std::map<std::pair<JobId, std::int64_t>, JobId> validating_;
  std::set<std::pair<JobId, std::int64_t>> unstarted_validations_;  ///< no room for their jobs so far
  Profiles profiles_;
  std::int64_t last_profile_ = 0;
  JobRows rows_;
  std::uint64_t epoch_ = 1;
  SteadyTime epoch_began_{};
  SteadyTime suspicion_aged_{};
  SteadyTime retain_at_;
  std::map<JobId, Attempt> unlaunched_;  ///< placed, waiting for the port of rank 0's node
  mutable core::Planner planner_;        ///< questions of users change nothing that it answers
  proto::UnixMs started_ms_;
  std::vector<store::SetAside> set_aside_;
  Usage usage_;
  std::function<void()> defer_pass_;
  SteadyTime accounted_{};
  proto::UnixMs look_again_ms_ = core::kNever;
  bool has_usage_document_ = false;
  bool scheduling_ = false, schedule_again_ = false, pass_due_ = false;
};

template <class Where>
void Dispatcher::lose_ranks(JobId id, const std::string& why, Where where) {
  const auto attempt = book_.find(id)->state.attempt;
  const auto count = book_.find(id)->state.ranks.size();
  for (std::size_t rank = 0; rank < count; ++rank) {
    const auto& state = book_.find(id)->state;
    if (state.attempt != attempt || state.ranks.size() != count) return;
    if (state.ranks[rank].phase == core::RankPhase::kEnded || !where(state.ranks[rank])) continue;
    proto::RankFinished lost;
    lost.attempt = attempt;
    lost.rank = static_cast<int>(rank);
    lost.status.lost = true;
    lost.error = proto::RankError{"lost", why, {}};
    apply(id, std::move(lost));
  }
}

}  // namespace rtrain::head
