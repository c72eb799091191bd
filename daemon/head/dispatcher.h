// Brings decisions to the agents and their news to the jobs: scheduling, launching, stopping, loss of nodes.
#pragma once

#include "daemon/core/scheduler.h"
#include "daemon/head/job_book.h"
#include "daemon/head/node_table.h"
#include "proto/config/config.h"

#include <set>

namespace rtrain::head {

/// @thread the head's.
class Dispatcher {
 public:
  using ChangeSink = std::function<void(JobId)>;
  Dispatcher(proto::HeadConfig config, JobIds ids, ChangeSink changed);

  [[nodiscard]] Result<JobId> submit(proto::JobSpec spec);
  [[nodiscard]] Result<Done> cancel(JobId id, const std::string& by);
  /// What would happen to a job with this scaling if it were submitted now.
  [[nodiscard]] core::Decision plan(const proto::ScalingConfig& scaling) const;

  [[nodiscard]] Result<Done> agent_joins(const std::shared_ptr<AgentSession>& session, const proto::Hello& hello);
  void agent_joined(const std::shared_ptr<AgentSession>& session, const proto::Hello& hello);
  void agent_left(AgentSession& session);
  void agent_says(AgentSession& session, proto::Message message);
  /// Nodes whose silence lasted longer than their lease are lost, and the ranks on them.
  void check_leases();

  [[nodiscard]] const JobBook& jobs() const { return book_; }
  [[nodiscard]] NodeTable& nodes() { return nodes_; }
  [[nodiscard]] const NodeTable& nodes() const { return nodes_; }

 private:
  void act(JobId id, const core::Action& action);
  void schedule();
  void reserve_port(JobId id);
  void launch(JobId id, int master_port);
  void stop(JobId id, const core::StopRanks& stop);
  void apply(JobId id, proto::JobEvent event);
  /// Ends every unfinished rank of the current attempt for which `where` holds, as lost.
  template <class Where>
  void lose_ranks(JobId id, const std::string& why, Where where);

  proto::HeadConfig config_;
  ChangeSink changed_;
  JobBook book_;
  NodeTable nodes_;
  std::map<JobId, Attempt> unlaunched_;  ///< placed, waiting for the port of rank 0's node
  bool scheduling_ = false, schedule_again_ = false;
};

}  // namespace rtrain::head
