// One machine under an agent: its processes, which do what their plan says, and the exit records that its supervisors write.
// Everything here outlives the agent; a power cut ends all of it.
// Modelled rules of the supervisors: a rank is started once; a signal goes to its whole group; the exit record is on disk before anybody
// is told of the end.
#pragma once

#include "tests/sim/plan.h"
#include "tests/sim/referee.h"
#include "tests/sim/world.h"

#include <memory>

namespace rtrain::sim {

class Host {
 public:
  /// What the agent hears of its ranks, while there is one.
  struct Ears {
    std::function<void(const proto::RankKey&, std::int64_t pid)> started;
    std::function<void(const proto::RankKey&, const std::string& why)> not_started;
    std::function<void(proto::Message)> said;  ///< RankRunning, RankReport: from the worker's own socket
    std::function<void(const proto::RankKey&, const proto::ExitStatus&)> ended;  ///< after its last words
  };
  Host(World& world, Referee& referee, const Workload& workload, std::size_t node) : world_(world), referee_(referee), workload_(workload), node_(node) {}

  void listen(Ears ears) { ears_ = std::move(ears); }
  void spawn(const proto::RankKey& key, std::shared_ptr<const proto::Launch> launch, const proto::RankPlacement& placement);
  void signal(const proto::RankKey& key, int number);
  void power_cut();
  [[nodiscard]] std::size_t processes() const { return processes_.size(); }

 private:
  struct Process {
    proto::RankKey key;
    std::shared_ptr<const proto::Launch> launch;
    const JobPlan* plan = nullptr;
    bool alive = true, ending = false;
    std::int64_t seq = 0, checkpoint = 0;
    Time ends = 0;
    proto::ExitStatus end;
  };
  using ProcessPtr = std::shared_ptr<Process>;
  void start(const proto::RankKey& key, std::shared_ptr<const proto::Launch> launch, const proto::RankPlacement& placement);
  void report_later(const ProcessPtr& process);
  void report(const ProcessPtr& process);
  void end(const ProcessPtr& process, const proto::ExitStatus& status);
  /// Words of a process reach the agent in order, after a moment.
  void tell(Time delay, std::function<void(Ears&)> words);

  World& world_;
  Referee& referee_;
  const Workload& workload_;
  std::size_t node_;
  Ears ears_;
  std::map<proto::RankKey, ProcessPtr> processes_;
  std::map<proto::RankKey, proto::ExitStatus> records_;
  std::int64_t boots_ = 0, last_pid_ = 100;
  Time last_word_ = 0;
};

}  // namespace rtrain::sim
