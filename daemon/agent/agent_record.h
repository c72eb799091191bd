// What an agent writes down of itself in its state_dir, for the agent that comes after it.
#pragma once

#include "common/base/result.h"
#include "common/os/process.h"

#include <chrono>
#include <optional>
#include <string>

namespace rtrain::agent {

/// <state_dir>/agent.json. Supervisors outlive an agent: the next one knows them by these.
struct AgentRecord {
  std::string secret;  ///< they show it
  std::string socket;  ///< they dial it
  std::optional<os::ProcessIdentity> zygote, keeper;
  std::string cgroup_tree;  ///< of its ranks' control groups; "": none
};
[[nodiscard]] std::optional<AgentRecord> read_agent_record(const std::string& state_dir);
[[nodiscard]] Result<Done> write_agent_record(const std::string& state_dir, const AgentRecord& record);

/// <state_dir>/lease: until when the head counts on this node, by the clock that runs since the boot. An
/// agent that was killed and one that comes after it hold one and the same lease: what the second one finds
/// running must end when the first one's would have.
class LeaseFile {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Grant {
    Time from;
    std::chrono::milliseconds length;
  };
  explicit LeaseFile(const std::string& state_dir);
  ~LeaseFile();
  LeaseFile(const LeaseFile&) = delete;
  LeaseFile& operator=(const LeaseFile&) = delete;
  void write(const Grant& grant);
  /// The last one of this boot.
  [[nodiscard]] std::optional<Grant> read() const;

 private:
  std::string path_;
  int fd_;
};

}  // namespace rtrain::agent
