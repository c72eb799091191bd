// What operators, and its agent, said of a node. It outlives the head and the node's absence: a document of
// the journal.
#pragma once

#include "proto/event/event.h"

#include <set>

namespace rtrain::head {

struct NodeSetting {
  bool cordoned = false;
  bool draining = false;   ///< its jobs were asked to leave; cordoned as well
  std::string reason, by;  ///< of the cordon
  proto::UnixMs since_ms = 0;
  proto::UnixMs drain_until_ms = 0;  ///< what is left then is stopped; 0: no deadline
  /// over those that the agent has; nothing takes the agent's away
  std::map<std::string, std::optional<std::string>> labels;
  std::set<int> quarantined;  ///< GPUs that the agent cannot offer
  std::string quarantine_reason;
  std::set<int> returned;  ///< of those, what an operator gives out all the same

  [[nodiscard]] bool is_default() const { return !cordoned && labels.empty() && quarantined.empty(); }
  [[nodiscard]] std::set<int> gpus_out() const;
  [[nodiscard]] std::map<std::string, std::string> over(
      std::map<std::string, std::string> labels_of_agent) const;
  /// "drained by ann: new disk; GPU 3 is out of service: pid 5 cannot be killed"; "" when there is nothing to
  /// say.
  [[nodiscard]] std::string words() const;
};

[[nodiscard]] proto::Json to_json(const NodeSetting& setting);
/// kProtocol names the field. Fields that are missing have their defaults.
[[nodiscard]] Result<NodeSetting> node_setting_from_json(const proto::Json& json);

}  // namespace rtrain::head
