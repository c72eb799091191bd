#include "tests/sim/sim_agent.h"

#include "common/base/fault.h"

#include <csignal>

namespace rtrain::sim {
namespace {

constexpr double kHandshakeLimitS = 10, kConnectLimitS = 5;

}  // namespace

SimAgent::SimAgent(World& world, Network& network, Host& host, proto::NodeInfo info, std::size_t node, std::function<bool(std::shared_ptr<Connection>)> reach)
    : world_(world), network_(network), host_(host), info_(std::move(info)), node_(node), reach_(std::move(reach)) {
  host_.listen({[this](const proto::RankKey& key, std::int64_t pid) { rank_started(key, pid); },
                [this](const proto::RankKey& key, const std::string& why) {
                  proto::ExitStatus status;
                  status.exit_code = 127;
                  rank_ended(key, status, proto::RankError{"spawn", why, {}});
                },
                [this](proto::Message message) {
                  const auto* report = std::get_if<proto::RankReport>(&message);
                  if (find(report != nullptr ? report->key : std::get<proto::RankRunning>(message).key) != nullptr) send(message);
                },
                [this](const proto::RankKey& key, const proto::ExitStatus& status) {
                  std::optional<proto::RankError> error;
                  if (!status.success()) error = proto::RankError{status.signal ? "signal" : "exit", to_string(status), {}};
                  rank_ended(key, status, std::move(error));
                }});
  later(seconds(world_.random().between(0.0, 0.5)), [this] { dial(); });
}

SimAgent::~SimAgent() {
  *lives_ = false;
  host_.listen({});
  if (connection_) connection_->close(Side::kAgent, world_.random().chance(0.5));
}

void SimAgent::later(Time delay, std::function<void()> act) {
  world_.after(delay, [lives = lives_, act = std::move(act)] {
    if (*lives) act();
  });
}

// ---- towards the head -----------------------------------------------------------------------------------------

void SimAgent::dial_later() {
  double pause = 0.1;
  for (int i = 0; i < failures_ && pause < 2; ++i) pause *= 2;
  later(seconds(std::min(pause, 2.0) * world_.random().between(0.5, 1.0)), [this] { dial(); });
}

void SimAgent::dial() {
  const auto number = ++dialled_;
  const auto& link = network_.link(node_);
  if (!link.whole()) {
    ++failures_;
    later(seconds(kConnectLimitS), [this] { dial_later(); });
    return;
  }
  connection_ = network_.connect(node_);
  connection_->attach(Side::kAgent, {[this](const proto::Message& message) { head_says(message); }, [this] { connection_ended(); }});
  if (!reach_(connection_)) {
    connection_->close(Side::kAgent, true);
    connection_.reset();
    ++failures_;
    return dial_later();
  }
  greeted_ = world_.now();
  proto::Hello hello;
  hello.role = "agent";
  hello.node = info_;
  for (const auto& [key, slot] : attempts_)
    for (const auto& [rank, state] : slot.ranks)
      if (!state.ended) hello.running.push_back({key.first, key.second, rank});
  for (const auto& key : outbox_.ends()) hello.running.push_back(key);
  connection_->send(Side::kAgent, std::make_shared<proto::Message>(std::move(hello)));
  later(seconds(kHandshakeLimitS), [this, number] {
    if (number != dialled_ || joined_ || !connection_) return;
    connection_->close(Side::kAgent, false);
    connection_ended();
  });
}

void SimAgent::connection_ended() {
  if (joined_) failures_ = 0;
  else ++failures_;
  ++dialled_;
  connection_.reset();
  joined_ = false;
  beats_.clear();
  outbox_.disconnected();
  dial_later();
}

void SimAgent::head_says(const proto::Message& message) {
  if (!joined_) {
    const auto* welcome = std::get_if<proto::Welcome>(&message);
    if (welcome == nullptr) {  // Refused
      connection_->close(Side::kAgent, false);
      return connection_ended();
    }
    world_.note("joined", node_);
    lease_ = seconds(welcome->lease_s);
    heartbeat_ = seconds(welcome->heartbeat_s);
    granted_ = greeted_;
    joined_ = true;
    if (!lease_held_) {
      lease_held_ = true;
      watch_lease();
      if (!joined_) return;  // the greeting took longer than the lease
    }
    pump();
    return beat();
  }
  if (const auto* taken = std::get_if<proto::Taken>(&message)) {
    outbox_.taken(taken->count);
  } else if (std::holds_alternative<proto::Heartbeat>(message)) {
    if (beats_.empty()) return;
    granted_ = beats_.front();
    beats_.pop_front();
  } else if (const auto* port = std::get_if<proto::ReservePort>(&message)) {
    if (world_.random().chance(0.01)) send(proto::PortReserved{port->job, port->attempt, 0, "no port is free"});
    else send(proto::PortReserved{port->job, port->attempt, 20'000 + world_.random().between(0, 9999), ""});
  } else if (const auto* launching = std::get_if<proto::Launch>(&message)) {
    launch(*launching);
  } else if (const auto* stopping = std::get_if<proto::StopAttempt>(&message)) {
    stop({stopping->job, stopping->attempt}, stopping->grace_s, stopping->reason);
  }
}

void SimAgent::send(const proto::Message& message) {
  outbox_.push(message);
  pump();
}

void SimAgent::pump() {
  while (joined_) {
    const auto* frame = outbox_.next();
    if (frame == nullptr) return;
    connection_->send(Side::kAgent, std::make_shared<proto::Message>(*proto::decode(*frame)));
    outbox_.sent();
  }
}

void SimAgent::beat() {
  connection_->send(Side::kAgent, std::make_shared<proto::Message>(proto::Heartbeat{}));
  beats_.push_back(world_.now());
  later(heartbeat_ + seconds(world_.random().between(0.0, 0.05)), [this, number = dialled_] {
    if (joined_ && number == dialled_) beat();
  });
}

void SimAgent::watch_lease() {
  const Time left = granted_ + lease_ - world_.now();
  if (left > 0) return later(left + seconds(world_.random().between(0.0, 0.05)), [this] { watch_lease(); });  // a tick of the agent
  lease_held_ = false;
  world_.note("lease ran out", node_);
  if (joined_) {
    connection_->close(Side::kAgent, false);
    connection_ended();
  }
  std::vector<Key> keys;
  for (const auto& [key, slot] : attempts_) keys.push_back(key);
  if (fault::on(fault::Fault::kNoLeaseStop)) return;
  for (const auto& key : keys) stop(key, 0, "the lease from the head ran out");
}

// ---- the ranks ------------------------------------------------------------------------------------------------

SimAgent::Slot* SimAgent::find(const proto::RankKey& key) {
  const auto slot = attempts_.find({key.job, key.attempt});
  return slot == attempts_.end() ? nullptr : &slot->second;
}

void SimAgent::launch(const proto::Launch& launch) {
  const Key key{launch.job, launch.attempt};
  if (attempts_.contains(key)) return;
  world_.note("launch", launch.job, launch.attempt, node_);
  auto& slot = attempts_[key];
  slot.launch = std::make_shared<proto::Launch>(launch);
  for (const auto& placement : launch.ranks) {
    slot.ranks[placement.rank].placement = placement;
    host_.spawn({launch.job, launch.attempt, placement.rank}, slot.launch, placement);
  }
}

void SimAgent::stop(Key key, double grace_s, const std::string& reason) {
  const auto found = attempts_.find(key);
  if (found == attempts_.end()) return;
  Slot& slot = found->second;
  const Time kill_at = world_.now() + seconds(grace_s);
  if (slot.stopping && slot.kill_at <= kill_at) return;
  world_.note("stop", key.first, key.second, node_);
  slot.kill_at = kill_at;
  if (!slot.stopping) {
    slot.stopping = true;
    slot.reason = reason;
    signal(slot, SIGTERM);
  }
  later(kill_at - world_.now() + seconds(world_.random().between(0.0, 0.05)), [this, key] {
    const auto again = attempts_.find(key);
    if (again == attempts_.end() || world_.now() < again->second.kill_at || again->second.killed) return;
    again->second.killed = true;
    signal(again->second, SIGKILL);
  });
}

void SimAgent::signal(const Slot& slot, int number) {
  const auto ranks = slot.ranks;  // an end changes the slot
  const auto launch = slot.launch;
  for (const auto& [rank, state] : ranks)
    if (!state.ended) host_.signal({launch->job, launch->attempt, rank}, number);
}

void SimAgent::rank_started(const proto::RankKey& key, std::int64_t pid) {
  Slot* slot = find(key);
  if (slot == nullptr || slot->ranks.at(key.rank).ended) return;
  slot->ranks.at(key.rank).started = true;
  send(proto::RankStarted{key, pid});
  if (!slot->launch->spec.train_func) send(proto::RankRunning{key});
  if (slot->stopping) host_.signal(key, slot->killed ? SIGKILL : SIGTERM);
}

void SimAgent::rank_ended(const proto::RankKey& key, const proto::ExitStatus& status, std::optional<proto::RankError> error) {
  Slot* slot = find(key);
  if (slot == nullptr || slot->ranks.at(key.rank).ended) return;
  slot->ranks.at(key.rank).ended = true;
  if (slot->stopping && error) error->message += " (" + slot->reason + ")";
  proto::RankEnded end;
  end.key = key;
  end.status = status;
  end.error = std::move(error);
  send(end);
  for (const auto& [rank, state] : slot->ranks)
    if (!state.ended) return;
  attempts_.erase({key.job, key.attempt});
}

}  // namespace rtrain::sim
