// The nodes the head knows, with what is held on each, and the connection of its agent while there is one.
#pragma once

#include "daemon/core/placement.h"
#include "daemon/core/suspicion.h"
#include "daemon/head/deadlines.h"
#include "daemon/head/nodes/agent_line.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>

namespace rtrain::head {

struct Node {
  core::NodeView view;
  /// as its agent said them; those of the view have what operators said over them
  std::map<std::string, std::string> own_labels;
  std::shared_ptr<AgentLine> session;  ///< null while the agent is away
  SteadyTime last_heard;
  core::Incidents incidents;  ///< failures that speak against it; known to this head since its start
};

/// @thread the head's.
class NodeTable {
 public:
  /// Takes a node that (re)connects. kConflict: an agent of that name is connected and was heard of within
  /// `silence`. One that was not is a connection that broke unnoticed: it is closed and replaced.
  /// kInvalidArgument: a name or an amount that cannot be.
  [[nodiscard]] Result<Done> join(proto::NodeInfo info, std::shared_ptr<AgentLine> session, SteadyTime now,
                                  std::chrono::duration<double> silence);
  /// A node that holds ranks, known from before a restart: away until its agent dials, lost when it does not
  /// within the lease.
  void expect(const std::string& name, SteadyTime now);
  /// The session ended; the node keeps its ranks until it is lost. False: another session has taken its place
  /// already.
  bool leave(const AgentLine& session);
  void heard(const std::string& name, SteadyTime now);
  /// Nodes that were alive and not heard of for `silence`; they are marked lost.
  [[nodiscard]] std::vector<std::string> lose_silent(SteadyTime now, std::chrono::duration<double> silence);

  /// A failure of `job` speaks against the node. Its suspicion is worked out again.
  void blame(const std::string& name, JobId job, const std::string& why, SteadyTime now);
  /// Suspicion fades.
  void age_suspicion(SteadyTime now);
  [[nodiscard]] std::string suspicion_reason(const Node& node, SteadyTime now) const;

  /// Its agent is about to go: nothing new starts there.
  void leaving(const std::string& name);
  /// Called with each node that is new or in a new state, but for what is held there.
  void on_change(std::function<void(const core::NodeView&)> changed) { changed_ = std::move(changed); }

  /// Whoever changed a node's view says so.
  void changed(const Node& node) {
    if (changed_) changed_(node.view);
  }

  void hold(const std::vector<proto::RankPlacement>& ranks, const proto::Resources& per_worker);
  void release(const std::vector<proto::RankPlacement>& ranks, const proto::Resources& per_worker);

  /// A planted fault (common/base/fault.h): what is free is given back once more.
  void release_twice(const std::vector<proto::RankPlacement>& ranks, const proto::Resources& per_worker);

  /// Nothing is known of it from now on. Its agent is welcome again, as a new one.
  void forget(const std::string& name);

  [[nodiscard]] Node* find(const std::string& name);
  [[nodiscard]] std::shared_ptr<AgentLine> session(const std::string& name);
  [[nodiscard]] const std::map<std::string, Node>& all() const { return nodes_; }
  [[nodiscard]] std::vector<core::NodeView> views() const;

 private:
  std::function<void(const core::NodeView&)> changed_;
  std::map<std::string, Node> nodes_;
};

}  // namespace rtrain::head
