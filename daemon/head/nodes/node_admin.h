// What operators say of nodes, and what agents say of their health: cordons, drains, labels, GPUs out of
// service.
#pragma once

#include "daemon/head/attempts/launcher.h"
#include "daemon/head/nodes/node_setting.h"

namespace rtrain::head {

/// Each command: kNotFound when there is no such node.
/// @thread the head's.
class NodeAdmin {
 public:
  NodeAdmin(HeadContext& context, Turn& turn, Launcher& launcher)
      : context_(context), turn_(turn), launcher_(launcher) {}

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
  [[nodiscard]] Result<Done> forget(const std::string& node, const std::string& by);

  [[nodiscard]] const NodeSetting& setting(const std::string& node) const;
  /// The settings that the journal has.
  void recover(const std::vector<store::Document>& documents);
  /// What was said of the node goes into the scheduler's view of it.
  void apply_setting(const std::string& node);
  void on_health(const std::string& node, const proto::NodeHealth& health);
  /// A draining node: its jobs are asked to leave.
  void evacuate(const std::string& node);
  /// The drain of the node has reached its deadline.
  [[nodiscard]] bool is_drain_over(const std::string& node) const { return drain_left_s(node) == 0.0; }
  void log_if_drained(const std::string& node) const;
  /// Stops what is left on nodes whose drain has reached its deadline.
  void end_drains();

 private:
  [[nodiscard]] Result<NodeSetting*> setting_of(const std::string& node);
  void keep_setting(const std::string& node);
  /// Seconds until the deadline of the node's drain, 0 from then on; nothing without one.
  [[nodiscard]] std::optional<double> drain_left_s(const std::string& node) const;

  HeadContext& context_;
  Turn& turn_;
  Launcher& launcher_;
  std::map<std::string, NodeSetting> settings_;    ///< by node; only those of which something was said
  std::map<std::string, SteadyTime> drain_until_;  ///< by node: drains with a deadline
};

}  // namespace rtrain::head
