// One agent of the simulation. The outbox is the real one. Modelled, because they are tied to sockets, files
// and processes there:
//   daemon/agent/head_link.*: dials again with back-off; Hello with the ranks in hand and those whose end is not confirmed; a heartbeat
//     every heartbeat_s; the lease counts from when the last answered heartbeat was sent, and its end stops every rank without grace and
//     closes the connection.
//     The next agent of the node goes on with the lease of the one before it.
//   daemon/agent/attempts.*: a port for the asking; an attempt is launched once; a stop is SIGTERM, after its grace SIGKILL, and a second
//     one may only shorten the grace; a request to yield goes on to each worker, a program without the SDK gets SIGTERM; a stop reaches a process that is still being made; an end is told once, with the true status.
//     Attempts and ends are written down until the head has stored the last end, and the next agent takes them up: what its supervisors
//     have in hand runs on, what has a record ended so, what was never started is started, everything else is lost. What a worker says
//     is confirmed to it when the head has stored it, and is told to the head once by each agent.
#pragma once

#include "daemon/agent/outbox.h"
#include "tests/sim/host.h"
#include "tests/sim/network.h"

#include <functional>

namespace rtrain::sim {

class SimAgent {
 public:
  /// @param reach hands a connection to the head; false: nobody listens there
  SimAgent(World& world, Network& network, Host& host, proto::NodeInfo info, std::size_t node,
           Time worker_lease, std::function<bool(std::shared_ptr<Connection>)> reach);
  /// The agent is killed; its supervisors and ranks are not.
  ~SimAgent();
  SimAgent(const SimAgent&) = delete;
  SimAgent& operator=(const SimAgent&) = delete;

  /// Nothing in hand and nothing to tell.
  [[nodiscard]] bool idle() const { return attempts_.empty() && outbox_.bytes() == 0; }
  [[nodiscard]] bool connected() const { return joined_; }
  /// Connected, whatever it and the head know.
  [[nodiscard]] bool reaches_head() const { return joined_ && !connection_->broken(); }

 private:
  using Key = std::pair<JobId, Attempt>;
  struct Rank {
    proto::RankPlacement placement;
    bool started = false, entered = false, ended = false;
    std::int64_t last_seq = 0;             ///< of its reports
    std::deque<std::int64_t> unconfirmed;  ///< what its worker said, by the numbers it has towards the head
  };
  struct Slot {
    std::shared_ptr<const proto::Launch> launch;
    std::map<int, Rank> ranks;
    std::optional<proto::CheckpointPins> pins;
    bool stopping = false, killed = false;
    Time kill_at = 0;
    std::string reason;
    std::int64_t last_end = 0;  ///< the number of the last RankEnded
  };
  /// Runs `act` later unless this agent is gone by then.
  void later(Time delay, std::function<void()> act);
  // ---- towards the head
  void dial_later();
  void dial();
  void head_says(const proto::Message& message);
  void connection_ended();
  void grant(Time from);
  std::int64_t send(const proto::Message& message);
  void pump();
  void beat();
  void watch_lease();
  // ---- the ranks
  void launch(const proto::Launch& launch);
  /// Takes up what the agent before this one wrote down.
  void recover();
  void supervisor_joined();
  void supervisor_died();
  /// What a worker says, or has written down: told once. @return when it is settled
  std::int64_t relay(Rank& rank, const proto::Message& message);
  void on_worker_message(const proto::RankKey& key, const proto::Message& message);
  void relay_outbox(const proto::RankKey& key, Rank& rank);
  void settled();
  void stop(Key key, double grace_s, const std::string& reason);
  void yield(Key key);
  void signal(const Slot& slot, int number);
  void rank_started(const proto::RankKey& key, std::int64_t pid);
  void process_gone(const proto::RankKey& key, const proto::ExitStatus& status);
  void end_without_process(const proto::RankKey& key, const proto::ExitStatus& status,
                           proto::RankError error);
  void finish(const proto::RankEnded& end);
  void forget_ended();
  void beat_workers();
  [[nodiscard]] Time rank_lease() const;
  Slot* find(const proto::RankKey& key);

  World& world_;
  Network& network_;
  Host& host_;
  proto::NodeInfo info_;
  std::size_t node_;
  std::function<bool(std::shared_ptr<Connection>)> reach_;
  std::shared_ptr<bool> lives_ = std::make_shared<bool>(true);
  agent::Outbox outbox_;
  std::shared_ptr<Connection> connection_;
  std::int64_t dialled_ = 0;  ///< counts connections: what a timer was set for
  std::deque<Time> beats_;    ///< of this connection: when those were sent that are not answered yet
  Time worker_lease_;
  Time greeted_ = 0, granted_ = 0, lease_ = 0, heartbeat_ = 0;
  bool joined_ = false, lease_held_ = false;
  int failures_ = 0;
  std::map<Key, Slot> attempts_;
  std::map<Key, std::int64_t> over_;  ///< attempts that are over, until the head has stored this last end
  std::int64_t last_number_ = 0;
  bool supervised_ = false;  ///< the supervisor has joined
};

}  // namespace rtrain::sim
