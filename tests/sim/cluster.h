// A whole cluster in one thread: head, disk, network, nodes with their agents, users, and what goes wrong.
#pragma once

#include "common/base/fault.h"
#include "tests/sim/sim_agent.h"
#include "tests/sim/sim_head.h"

namespace rtrain::sim {

struct RunOptions {
  std::uint64_t seed = 1;
  WorkloadSize size;
  std::optional<fault::Fault> fault;  ///< a rule of the head or the agent to break
  bool tracing = false;               ///< keep the last lines
  bool print = false;                 ///< print each line
};

struct RunResult {
  std::optional<Violation> violation;
  std::uint64_t trace_hash = 0;
  std::int64_t events = 0;
  Time ended = 0;
  int jobs = 0, head_starts = 0, sweeps = 0;
  std::int64_t decisions_compared = 0;  ///< of sweeps, with those of a run in which nothing goes wrong
  std::deque<std::string> last_lines;
};

class Cluster {
 public:
  explicit Cluster(const RunOptions& options);
  ~Cluster();

  World& world() { return world_; }
  SimHead& head() { return head_; }
  Disk& disk() { return disk_; }
  Network& network() { return network_; }
  Referee& referee() { return referee_; }
  [[nodiscard]] const Workload& workload() const { return workload_; }
  [[nodiscard]] std::size_t nodes() const { return hosts_.size(); }
  [[nodiscard]] const std::string& node_name(std::size_t node) const { return infos_[node].name; }

  void start_agent(std::size_t node);
  /// The machine loses its power: agent, ranks and what they had in memory are gone.
  void power_cut(std::size_t node);
  /// kill -9 of the agent; its supervisors and ranks live on.
  void kill_agent(std::size_t node);
  void kill_supervisor(std::size_t node);
  [[nodiscard]] bool agent_up(std::size_t node) const { return agents_[node] != nullptr; }
  /// Everything that was broken works again.
  void heal();
  [[nodiscard]] bool healed() const { return healed_; }
  /// Nothing stands between the head and what it wants on that node.
  [[nodiscard]] bool calm(std::size_t node) const;

  /// Every job has ended or waits for a reason that is true, and nobody has anything left to do or to tell.
  [[nodiscard]] bool at_rest() const;
  /// The job may be as it is for ever.
  [[nodiscard]] bool may_stay(const head::JobRecord& record) const;
  /// A sweep that goes on because none of the jobs that it waits for can ever start.
  [[nodiscard]] bool may_stay(const head::SweepEntry& entry) const;
  /// What is still going on, for a person.
  [[nodiscard]] std::string unrest() const;
  void check_rest();

 private:
  World world_;
  Workload workload_;
  std::vector<proto::NodeInfo> infos_;
  Network network_;
  Disk disk_;
  proto::HeadConfig config_;
  Referee referee_;
  SimHead head_;
  Storage storage_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<std::unique_ptr<SimAgent>> agents_;
  bool healed_ = false;
};

/// One run from its seed to its end.
[[nodiscard]] RunResult run(const RunOptions& options);

}  // namespace rtrain::sim
