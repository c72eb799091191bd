// Attempts on their way to the nodes and back: the port of the rendezvous, the launch, the request to stop or
// to yield, and the ranks that are lost with a node.
#pragma once

#include "daemon/head/head_context.h"
#include "daemon/head/turn.h"

namespace rtrain::head {

/// What an attempt is put together of, once its port is known.
[[nodiscard]] proto::Launch launch_of(const core::JobState& state, int master_port,
                                      const std::string& master_addr);

/// @thread the head's.
class Launcher {
 public:
  Launcher(HeadContext& context, Turn& turn) : context_(context), turn_(turn) {}

  /// The attempt is placed: its first node is asked for a port. The launch follows the answer.
  void reserve_port(JobId id);
  void on_port_reserved(const std::string& node, const proto::PortReserved& answer);
  /// The attempt has ended, whether or not it was launched.
  void on_released(JobId id) { unlaunched_.erase(id); }
  /// An attempt that was not launched is lost at once. A node that is away hears of the others when it comes
  /// back (stop_unwanted), or is lost with its lease.
  void stop(JobId id, const core::StopRanks& stop);
  /// Likewise. Sets the deadline of the grace.
  void yield(JobId id, const core::YieldRanks& yield);
  /// The grace of a yield is over.
  void on_grace_over(JobId id);

  /// The agent came back: what the head believes and the agent has not is lost, and a port is asked for
  /// again.
  void drop_missing(const std::string& node, const std::set<proto::RankKey>& running);
  /// The agent came back with ranks of this attempt: it is told to stop what the head does not want (any
  /// more). `drain_is_over`: the drain of its node has reached its deadline.
  void stop_unwanted(const std::shared_ptr<AgentLine>& session, JobId id, Attempt attempt,
                     bool drain_is_over);
  /// A port that the agent was asked for will not come any more.
  void agent_left(const std::string& node);
  void on_node_lost(const std::string& node);

  /// What the launch of a job says of pins (proto::CheckpointPins).
  void ask_for_pins(std::function<std::vector<std::string>(JobId)> pins_of) { pins_of_ = std::move(pins_of); }

  /// The nodes with ranks of the current attempt that have not ended.
  [[nodiscard]] std::set<std::string> living_nodes(JobId id) const;
  /// Jobs with a rank on the node that has not ended.
  [[nodiscard]] std::set<JobId> jobs_on(const std::string& node) const;
  /// True when the rank is of its job's current attempt and lives on that node.
  [[nodiscard]] bool lives_on(const proto::RankKey& key, const std::string& node) const;

 private:
  void launch(JobId id, int master_port);
  /// Every unfinished rank of the current attempt, or those on `node`, is posted as lost.
  void lose_ranks(JobId id, const std::string& why);
  void lose_ranks_on(const std::string& node, JobId id, const std::string& why);
  template <class Where>
  void lose_ranks_where(JobId id, const std::string& why, Where where);
  /// StopAttempt or YieldAttempt, for an agent that comes back with ranks of an attempt that is being
  /// stopped.
  [[nodiscard]] proto::Message stop_again(const core::JobState& state, const std::string& node,
                                          bool drain_is_over) const;

  HeadContext& context_;
  Turn& turn_;
  std::function<std::vector<std::string>(JobId)> pins_of_;
  std::map<JobId, Attempt> unlaunched_;  ///< placed, waiting for the port of rank 0's node
};

}  // namespace rtrain::head
