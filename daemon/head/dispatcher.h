// Brings decisions to the agents and their news to the jobs: scheduling, launching, stopping, loss of nodes.
#pragma once

#include "daemon/core/hang.h"
#include "daemon/core/scheduler.h"
#include "daemon/head/deadlines.h"
#include "daemon/head/job_book.h"
#include "daemon/head/node_table.h"
#include "daemon/head/output_gate.h"
#include "proto/config/config.h"

#include <functional>
#include <set>

namespace rtrain::head {

/// What the dispatcher knows of time; a test gives its own.
struct Clock {
  std::function<SteadyTime()> steady;       ///< for leases
  std::function<proto::UnixMs()> wall;      ///< for records
  [[nodiscard]] static Clock real();
};

/// Why a job of the queue waits.
struct Waiting {
  std::string reason;
  int position = 0;                       ///< 1-based among those that wait; 0: it does not stand in line (held, for one)
  proto::UnixMs expected_start_ms = 0;    ///< at the latest, if what runs keeps to its limits; 0: nobody can say
};

/// @thread the head's.
class Dispatcher {
 public:
  using ChangeSink = std::function<void(JobId)>;
  /// The store must outlive it. Goes on where the store's last words left off: nodes that held ranks get a full lease from now.
  Dispatcher(proto::HeadConfig config, JobBook::Store store, store::Recovered recovered, ChangeSink changed, Clock clock = Clock::real());

  [[nodiscard]] Result<JobId> submit(proto::JobSpec spec);
  [[nodiscard]] Result<Done> cancel(JobId id, const std::string& by);
  /// A held job that waits does not start until it is released; one that runs goes on.
  [[nodiscard]] Result<Done> hold(JobId id, const std::string& by);
  [[nodiscard]] Result<Done> release(JobId id, const std::string& by);
  /// Asks the job's attempt to write a checkpoint and to end, and stops it after grace_s. It goes back into the queue. kConflict when
  /// it has no attempt, or one that stops already.
  [[nodiscard]] Result<Done> yield(JobId id, proto::YieldCause cause, const std::string& reason, double grace_s);
  /// Worked out when asked. Empty for a job that does not wait.
  [[nodiscard]] Waiting waiting(JobId id) const;
  /// What would happen to a job with this scaling if it were submitted now.
  [[nodiscard]] core::Decision plan(const proto::ScalingConfig& scaling) const;

  /// May it? Then Welcome goes out, and agent_joined() follows.
  [[nodiscard]] Result<Done> agent_joins(const std::shared_ptr<AgentLine>& session, const proto::Hello& hello);
  void agent_joined(const std::shared_ptr<AgentLine>& session, const proto::Hello& hello);
  void agent_left(AgentLine& session);
  void agent_says(AgentLine& session, proto::Message message);
  /// Some times a second. Nodes whose silence lasted longer than their lease are lost, and the ranks on them; what is due for a job
  /// is done: its time limit, the end of its grace to yield, its retry, the verdict on a hang.
  void tick();

  /// What the outside may be told, and when.
  [[nodiscard]] OutputGate& gate() { return gate_; }
  [[nodiscard]] store::Health health() const { return store_.journal.health(); }

  [[nodiscard]] const JobBook& jobs() const { return book_; }
  [[nodiscard]] SteadyTime now() const { return clock_.steady(); }
  [[nodiscard]] NodeTable& nodes() { return nodes_; }
  [[nodiscard]] const NodeTable& nodes() const { return nodes_; }

 private:
  void act(JobId id, const core::Action& action);
  // dispatcher_life.cpp: what happens to an attempt with time.
  void placed(JobId id);
  void entered_queue(JobId id);
  void ended(JobId id);
  void ask_to_yield(JobId id, const core::YieldRanks& yield);
  void do_due(const Deadlines::Due& due);
  void hear_progress(const proto::RankProgress& progress);
  void hear_diagnosis(proto::RankDiagnosis diagnosis);
  void judge_hang(JobId id);
  void recover_deadlines(const core::JobState& state);
  /// StopAttempt or YieldAttempt, for an agent that comes back with ranks of an attempt that is being stopped.
  [[nodiscard]] proto::Message stop_again(const core::JobState& state) const;
  /// "" when the job may be placed, else why it may not.
  [[nodiscard]] std::string keeps_from_start(const core::JobState& state) const;
  /// Those of the queue that may be placed; the others are told why not.
  [[nodiscard]] std::vector<JobId> startable();
  void schedule();
  /// The same for a job that has just come in, without a look at all the others when one of them holds it back.
  void schedule_newest(JobId id);
  [[nodiscard]] core::Snapshot snapshot(const std::vector<JobId>& queue) const;
  /// True when the rank is of its job's current attempt and lives on that node.
  [[nodiscard]] bool lives_on(const proto::RankKey& key, const std::string& node) const;
  void reserve_port(JobId id);
  void launch(JobId id, int master_port);
  void stop(JobId id, const core::StopRanks& stop);
  /// Sends when what led to it is durable; runs `lost` when the connection is gone by then.
  void tell(const std::shared_ptr<AgentLine>& session, proto::Message message, std::function<void()> lost = {});
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
  std::map<JobId, std::map<int, proto::RankDiagnosis>> diagnoses_;  ///< by rank, of attempts that seem to hang
  SteadyTime suspicion_aged_{};
  std::map<JobId, Attempt> unlaunched_;  ///< placed, waiting for the port of rank 0's node
  std::optional<JobId> blocker_;         ///< the first job of the queue that waits for room, as of the last schedule()
  bool scheduling_ = false, schedule_again_ = false;
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
