// Brings decisions to the agents and their news to the jobs: scheduling, launching, stopping, loss of nodes.
#pragma once

#include "daemon/core/scheduler.h"
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

/// @thread the head's.
class Dispatcher {
 public:
  using ChangeSink = std::function<void(JobId)>;
  /// The store must outlive it. Goes on where the store's last words left off: nodes that held ranks get a full lease from now.
  Dispatcher(proto::HeadConfig config, JobBook::Store store, store::Recovered recovered, ChangeSink changed, Clock clock = Clock::real());

  [[nodiscard]] Result<JobId> submit(proto::JobSpec spec);
  [[nodiscard]] Result<Done> cancel(JobId id, const std::string& by);
  /// What would happen to a job with this scaling if it were submitted now.
  [[nodiscard]] core::Decision plan(const proto::ScalingConfig& scaling) const;

  /// May it? Then Welcome goes out, and agent_joined() follows.
  [[nodiscard]] Result<Done> agent_joins(const std::shared_ptr<AgentLine>& session, const proto::Hello& hello);
  void agent_joined(const std::shared_ptr<AgentLine>& session, const proto::Hello& hello);
  void agent_left(AgentLine& session);
  void agent_says(AgentLine& session, proto::Message message);
  /// Nodes whose silence lasted longer than their lease are lost, and the ranks on them.
  void check_leases();

  /// What the outside may be told, and when.
  [[nodiscard]] OutputGate& gate() { return gate_; }
  [[nodiscard]] store::Health health() const { return store_.journal.health(); }

  [[nodiscard]] const JobBook& jobs() const { return book_; }
  [[nodiscard]] NodeTable& nodes() { return nodes_; }
  [[nodiscard]] const NodeTable& nodes() const { return nodes_; }

 private:
  void act(JobId id, const core::Action& action);
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
  std::map<JobId, Attempt> unlaunched_;  ///< placed, waiting for the port of rank 0's node
  std::optional<JobId> blocker_;         ///< the first job of the queue that waits for room, as of the last schedule()
  bool scheduling_ = false, schedule_again_ = false;
};

}  // namespace rtrain::head
