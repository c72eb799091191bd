// One machine under an agent: the processes of its ranks, which do what their plan says, the supervisors, and
// what all of them write down. All of it outlives the agent; a power cut ends it. Modelled rules, those of
// worker/supervision and worker/runtime:
//   a rank is started once; a signal goes to its whole group; its exit record is written before anybody is told of the end;
//   what a worker says waits in its outbox and its file until the agent has confirmed it, and goes to the next agent again;
//   a worker ends itself when its agent does not renew its lease, one that an agent has not spoken to yet with its supervisor's.
#pragma once

#include "tests/sim/plan.h"
#include "tests/sim/referee.h"
#include "tests/sim/storage.h"
#include "tests/sim/world.h"

#include <deque>
#include <memory>

namespace rtrain::sim {

/// What lies in the agent's state folder: read by the agent that comes after it.
struct AgentFiles {
  struct Lease {
    Time from = 0, length = 0;
  };
  /// attempts whose end the head does not know
  std::map<std::pair<JobId, Attempt>, std::shared_ptr<const proto::Launch>> live;
  std::map<proto::RankKey, proto::RankEnded> ends;
  std::optional<Lease> lease;
};

class Host {
 public:
  /// What an agent hears, while there is one.
  struct Listener {
    std::function<void(const proto::RankKey&, std::int64_t pid)> started;
    std::function<void(const proto::RankKey&, const std::string& why)> not_started;
    /// RankRunning, RankReport: from the worker's own socket
    std::function<void(const proto::RankKey&, proto::Message)> on_message;
    std::function<void(const proto::RankKey&, const proto::ExitStatus&)> ended;
    /// It may be told something: before it hears that anything is stored
    std::function<void(const proto::RankKey&)> worker_joined;
    std::function<Time()> rank_lease;  ///< for how long from now a rank may be left alone
    std::function<void()> supervisor_joined;
    std::function<void()> supervisor_died;
  };
  Host(World& world, Referee& referee, const Workload& workload, Storage& storage, std::size_t node)
      : world_(world), referee_(referee), workload_(workload), storage_(storage), node_(node) {}

  // ---- the agent
  /// A new agent: supervisors and workers dial it after a while.
  void agent_starts(Listener listener);
  void agent_dies();
  /// Renews the lease of the supervisor and of every worker that is connected.
  void heartbeat();
  void spawn(const proto::RankKey& key, std::shared_ptr<const proto::Launch> launch,
             const proto::RankPlacement& placement);
  void signal(const proto::RankKey& key, int number);
  /// The worker is told that its place is wanted.
  void ask_to_yield(const proto::RankKey& key);
  /// The checkpoints that the worker, rank 0 of its attempt, does not delete.
  void pin(const proto::RankKey& key, const std::vector<std::string>& paths);
  /// The worker's first `count` unconfirmed messages need not be sent again.
  void confirm(const proto::RankKey& key, std::size_t count);
  [[nodiscard]] bool in_hand(const proto::RankKey& key) const {
    return processes_.contains(key) || pending_.contains(key);
  }
  [[nodiscard]] bool was_started(const proto::RankKey& key) const { return was_started_.contains(key); }
  /// It ended because it was asked to, with its last checkpoint reported.
  [[nodiscard]] bool yielded(const proto::RankKey& key) const { return yielded_.contains(key); }
  [[nodiscard]] std::optional<proto::ExitStatus> exit_record(const proto::RankKey& key) const;
  /// What an ended rank sent and nobody confirmed.
  [[nodiscard]] std::vector<proto::Message> outbox(const proto::RankKey& key) const;
  AgentFiles files;

  // ---- trouble
  void power_cut();
  /// The zygote or keeper: its ranks go with it, and nobody writes down how they ended.
  void kill_supervisor();

 private:
  struct Process {
    proto::RankKey key;
    std::shared_ptr<const proto::Launch> launch;
    const JobPlan* plan = nullptr;
    bool alive = true, ending = false, yielding = false, connected = false;
    std::int64_t seq = 0, checkpoint = 0, pid = 0;
    Time ends = 0, leased_until = 0;
    proto::ExitStatus end;
    std::int64_t first_epoch = 0;  ///< of what it began with
    std::optional<KeptCheckpoints> kept;
    std::deque<proto::Message> unconfirmed;
    Time last_word = 0;  ///< when the last of them arrives at the agent
  };
  using ProcessPtr = std::shared_ptr<Process>;
  void start(const proto::RankKey& key, std::shared_ptr<const proto::Launch> launch,
             const proto::RankPlacement& placement);
  /// Of a trial's rank, which goes on from its last checkpoint.
  [[nodiscard]] static std::int64_t epochs_left(const Process& process);
  void say(const ProcessPtr& process, proto::Message message);
  void deliver(const ProcessPtr& process, proto::Message message, Time delay);
  void connect_worker(const ProcessPtr& process);
  void report_later(const ProcessPtr& process);
  void report(const ProcessPtr& process);
  void say_report(const ProcessPtr& process, bool with_checkpoint);
  void watch_lease(const ProcessPtr& process);
  void end(const ProcessPtr& process, const proto::ExitStatus& status);
  void lose(const ProcessPtr& process);
  /// Runs unless the agent, or the machine, is another one by then.
  void tell(Time when, std::function<void(Listener&)> words);

  World& world_;
  Referee& referee_;
  const Workload& workload_;
  Storage& storage_;
  std::size_t node_;
  Listener listener_;
  bool agent_up_ = false, supervisor_up_ = true;
  std::int64_t agents_ = 0, boots_ = 0, supervisors_ = 0, last_pid_ = 100;
  Time supervisor_leased_until_ = 0, supervisor_word_ = 0;
  std::map<proto::RankKey, ProcessPtr> processes_;
  std::set<proto::RankKey> pending_;  ///< handed to the supervisor, not started yet
  std::set<proto::RankKey> was_started_, yielded_;
  std::map<proto::RankKey, proto::ExitStatus> records_;
  std::map<proto::RankKey, std::deque<proto::Message>> outbox_;
};

}  // namespace rtrain::sim
