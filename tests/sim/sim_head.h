// The head of the simulation: the real Dispatcher, JobBook, NodeTable, OutputGate and core on a simulated
// disk and network. It is killed and started again at any moment. Modelled, because they are tied to sockets
// and the executor there: passes over the queue (daemon/head/head.cpp), the session of an agent
// (daemon/head/agent_session.*: handshake, a heartbeat is answered at once, Taken when what came so far is
// stored) and the answers of the API (daemon/head/api_server.*: told when every event appended so far is
// durable).
#pragma once

#include "daemon/head/dispatcher.h"
#include "tests/sim/disk.h"
#include "tests/sim/network.h"
#include "tests/sim/referee.h"

namespace rtrain::sim {

class SimHead {
 public:
  SimHead(World& world, Disk& disk, Referee& referee, proto::HeadConfig config)
      : world_(world), disk_(disk), referee_(referee), config_(std::move(config)) {}
  ~SimHead() { crash(); }

  void start();
  /// @param silently the machine went with it: nobody is told that the connections ended
  void crash(bool silently = false);
  [[nodiscard]] bool up() const { return process_ != nullptr; }
  [[nodiscard]] int starts() const { return starts_; }
  /// An agent's connection arrives. False: nobody listens.
  bool accept(std::shared_ptr<Connection> connection);
  void disk_changed();

  /// A request of a user. The answer comes once, when what led to it is durable, or never when the head dies
  /// first.
  template <class T>
  void ask(const std::function<Result<T>(head::Dispatcher&)>& question,
           std::function<void(const Result<T>&)> answer) {
    auto* head = dispatcher();
    if (head == nullptr) return;
    head->gate().after_events([answer = std::move(answer), said = question(*head)] { answer(said); });
  }
  /// Null while it is down.
  [[nodiscard]] head::Dispatcher* dispatcher();
  [[nodiscard]] const head::Dispatcher* dispatcher() const;

 private:
  class Session;
  struct Process;
  World& world_;
  Disk& disk_;
  Referee& referee_;
  proto::HeadConfig config_;
  std::shared_ptr<Process> process_;
  int starts_ = 0;
};

}  // namespace rtrain::sim
