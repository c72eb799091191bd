// The ranks of this node: launched, stopped, relayed and ended.
#pragma once

#include "common/os/nvml.h"
#include "daemon/agent/attempt_record.h"
#include "daemon/agent/bystanders.h"
#include "daemon/agent/port_reservation.h"
#include "daemon/agent/quarantine.h"
#include "daemon/agent/rank_environment.h"
#include "daemon/agent/rank_groups.h"
#include "daemon/agent/supervisor_process.h"

#include <deque>

namespace rtrain::agent {

/// @thread the agent's.
class Attempts {
 public:
  struct Setting {
    std::string state_dir, socket;
    /// Queues it; its number for settled(), 0 for what is not kept.
    std::function<std::int64_t(const proto::Message&)> to_head;
    /// The started supervisor for a job, or why there is none.
    std::function<Result<SupervisorProcess*>(bool is_train_func)> supervisor;
    std::function<NodeFacts()> facts;  ///< node, address, interface, inherited
    std::string cgroup_tree;           ///< of the ranks that are launched from now on; "": none
    double kill_wait_s = 30;
    std::int64_t log_bytes_max = 0;  ///< of one rank; 0: no bound
    std::function<std::vector<os::GpuProcess>(const std::vector<int>& gpus)> gpu_processes;
    /// A process of a rank does not end on SIGKILL; told before the rank's end is.
    std::function<void(Quarantine::Entry)> stuck;
  };
  explicit Attempts(Setting setting) : setting_(std::move(setting)) {}

  void reserve_port(const proto::ReservePort& request);
  void launch(const proto::Launch& launch);
  /// Takes up an attempt of the agent that was here before. What became of its ranks meanwhile is known when
  /// their supervisor has joined, or was found dead.
  void adopt(const LiveAttempt& attempt);
  /// SIGTERM now, SIGKILL after grace_s. Unknown attempts are ignored: they are over.
  void stop(JobId job, Attempt attempt, double grace_s, const std::string& reason);
  /// Goes on to each worker; SIGTERM to ranks without one. Ranks that have not ended after its grace are
  /// stopped. Again: another grace.
  void yield(const proto::YieldAttempt& request);
  void stop_all(double grace_s, const std::string& reason);
  /// Goes on to each worker, also to one that joins later.
  void validated(const proto::CheckpointValidated& told);
  /// Goes on to the worker of rank 0, also when it joins later.
  void pin(const proto::CheckpointPins& pins);
  /// Goes on to the workers of the ranks that it names; one that cannot be asked is answered for.
  void profile(const proto::ProfileRanks& request);
  /// The same for where they are. A stop that follows lets them answer first, for 2 s at most.
  void debug(const proto::DebugRanks& request);

  void spawned(const proto::SpawnResult& result);
  void ended(const proto::SupervisedEnd& end);
  /// true: this rank was not handed to a supervisor yet
  using Waits = std::function<bool(const proto::RankKey&)>;
  /// The supervisor of these ranks is gone: what has no exit record is lost.
  void supervisor_died(bool is_train_func, const Waits& waits);
  /// Supervisors of these ranks end one after the other before they have spoken: ranks that no supervisor has
  /// are ended, with why. `withdraw` takes back what waits to be handed to the next one.
  void supervisor_unusable(bool is_train_func, const std::string& why, const Waits& withdraw);
  /// It dialled, perhaps not for the first time, and has these ranks in hand. What a broken connection
  /// swallowed is made good: ends are read from the records, requests to spawn and to stop are sent again.
  void supervisor_joined(bool is_train_func, const std::vector<proto::RankKey>& in_hand, const Waits& waits);

  /// A worker said Hello; kUnauthenticated unless it knows the attempt's secret. A connection that it had
  /// before ends. `version`: of the protocol, as it speaks it.
  [[nodiscard]] Result<Done> worker_joins(const proto::RankKey& key, const std::string& secret,
                                          std::shared_ptr<net::FrameStream> stream, int version);
  /// It has got its Welcome: what its attempt was told before it came follows.
  void on_worker_welcomed(const proto::RankKey& key);
  void on_worker_message(const proto::RankKey& key, const net::FrameStream& stream,
                         const proto::Message& message);
  void worker_left(const proto::RankKey& key, const net::FrameStream& stream);
  void heartbeat_workers(double lease_s);
  /// The head has stored all messages up to this number.
  void settled(std::int64_t number);

  /// Timers: SIGKILL after the grace, ranks that nobody spawned, ports that nobody used. To call a few times
  /// a second.
  void tick();

  [[nodiscard]] std::vector<proto::RankKey> running() const;
  [[nodiscard]] bool is_live(const proto::RankKey& key) const;
  [[nodiscard]] bool empty() const { return attempts_.empty(); }

 private:
  using Key = std::pair<JobId, Attempt>;
  using Clock = std::chrono::steady_clock;
  struct Rank {
    proto::RankPlacement placement;
    std::string dir;
    std::int64_t pid = 0;  ///< 0: its supervisor has not said that it runs
    /// known once it was started, also by an earlier agent's time
    std::optional<os::ProcessIdentity> process;
    bool ended = false;
    std::shared_ptr<net::FrameStream> worker;
    int version = 1;  ///< of the protocol, as the worker speaks it
    [[nodiscard]] bool confirms() const { return version >= 2; }  ///< it wants to hear Taken
    [[nodiscard]] bool hears_validations() const { return version >= 4; }
    [[nodiscard]] bool hears_pins() const { return version >= 6 && placement.rank == 0; }
    /// what this connection of the worker said, by the numbers it has towards the head
    std::deque<std::int64_t> unconfirmed;
    std::optional<std::int64_t> debugged;  ///< the request to say where it is that it has not answered
    std::int64_t taken = 0;                ///< so many of them the worker was told
    std::int64_t last_seq = 0;             ///< of its reports
    bool entered = false;                  ///< RankRunning was told
    /// the process is gone, its last words on the socket are still being read
    std::optional<proto::ExitStatus> status;
    Clock::time_point gone_since;
  };
  struct Slot {
    proto::Launch launch;
    std::string secret;
    std::string cgroup_tree;
    std::optional<proto::YieldAttempt> yield;
    std::map<std::int64_t, proto::CheckpointValidated> validated;  ///< by index of the checkpoint
    std::optional<proto::CheckpointPins> pins;                     ///< as the head said last
    /// its ranks wait for GPUs that a process still uses, at the latest until then
    std::optional<Clock::time_point> held_until;
    std::optional<Clock::time_point> stop_at;  ///< when the time to yield is over
    std::map<int, Rank> ranks;
    Clock::time_point launched;
    bool stopping = false, killed = false;
    Clock::time_point kill_at;
    Clock::time_point debugged_at{};  ///< when its ranks were asked where they are
    /// its SIGTERM waits for their answers since then
    std::optional<Clock::time_point> held_since;
    std::string reason;
    std::int64_t last_end = 0;  ///< the number of the last RankEnded
  };
  struct Port {
    PortReservation reservation;
    Clock::time_point since;
  };

  Rank* find(const proto::RankKey& key);
  proto::SpawnRank spawn_request(const Slot& slot, const Rank& rank) const;
  void signal(const Slot& slot, int number);
  /// SIGTERM now, or when its ranks have said where they are.
  void terminate(Slot& slot);
  [[nodiscard]] static bool awaits_answers(const Slot& slot);
  void end_without_process(Slot& slot, Rank& rank, const std::string& kind, const std::string& why,
                           bool lost);
  void process_gone(Slot& slot, Rank& rank, const proto::ExitStatus& status);
  void finish(Slot& slot, Rank& rank, const proto::RankEnded& end);
  void quarantine(const Slot& slot, const Rank& rank, pid_t stuck);
  /// SIGKILL did not end its process.
  void give_up(Slot& slot, Rank& rank, pid_t stuck);
  void bound(const Rank& rank);
  /// The GPUs of an attempt that it shares with no other.
  [[nodiscard]] std::set<int> own_gpus(const Slot& slot) const;
  /// What runs on them.
  [[nodiscard]] std::vector<os::GpuProcess> intruders(const Slot& slot) const;
  /// @param found what runs on its GPUs now
  void spawn(Slot& slot, const std::vector<os::GpuProcess>& found);
  void forget_ended();
  std::int64_t tell(const proto::Message& message);
  /// Of what a worker says, or has written down, what the head was not told by this agent. @return when it is
  /// settled
  std::int64_t relay(Rank& rank, const proto::Message& message);
  /// The same for all that an ended rank has left in its folder.
  void relay_outbox(const Slot& slot, Rank& rank);
  void confirm(Rank& rank);
  static proto::RankKey key_of(const Slot& slot, const Rank& rank) {
    return {slot.launch.job, slot.launch.attempt, rank.placement.rank};
  }
  static std::string group_of(const Slot& slot, const Rank& rank) {
    return rank_group(slot.cgroup_tree, key_of(slot, rank));
  }
  static bool is_train_func(const Slot& slot) { return slot.launch.spec.train_func.has_value(); }

  Setting setting_;
  std::map<Key, Slot> attempts_;
  std::map<Key, Port> ports_;
  Bystanders bystanders_;
  std::map<Key, std::int64_t> over_;  ///< attempts that are over, until the head has stored this last end
  std::int64_t last_number_ = 0, settled_ = 0;
  Clock::time_point next_bound_{};
  Clock::time_point next_gpu_look_{};
};

}  // namespace rtrain::agent
