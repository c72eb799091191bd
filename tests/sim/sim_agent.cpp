#include "tests/sim/sim_agent.h"

#include "common/base/fault.h"
#include "daemon/agent/rank_lease.h"

#include <algorithm>
#include <csignal>

namespace rtrain::sim {
namespace {

constexpr double kHandshakeLimitS = 10, kConnectLimitS = 5;

}  // namespace

SimAgent::SimAgent(World& world, Network& network, Host& host, proto::NodeInfo info, std::size_t node,
                   Time worker_lease, std::function<bool(std::shared_ptr<Connection>)> reach)
    : world_(world),
      network_(network),
      host_(host),
      info_(std::move(info)),
      node_(node),
      reach_(std::move(reach)),
      worker_lease_(worker_lease) {
  host_.agent_starts(
      {[this](const proto::RankKey& key, std::int64_t pid) { rank_started(key, pid); },
       [this](const proto::RankKey& key, const std::string& why) {
         proto::ExitStatus status;
         status.exit_code = 127;
         end_without_process(key, status, {"spawn", why, {}});
         forget_ended();
       },
       [this](const proto::RankKey& key, const proto::Message& message) { on_worker_message(key, message); },
       [this](const proto::RankKey& key, const proto::ExitStatus& status) {
         process_gone(key, status);
         forget_ended();
       },
       [this](const proto::RankKey& key) {
         const Slot* slot = find(key);
         if (slot != nullptr && slot->pins && key.rank == 0) host_.pin(key, slot->pins->paths);
       },
       [this] { return rank_lease(); }, [this] { supervisor_joined(); }, [this] { supervisor_died(); }});
  recover();
  beat_workers();
  later(seconds(world_.random().between(0.0, 0.5)), [this] { dial(); });
}

SimAgent::~SimAgent() {
  *lives_ = false;
  host_.agent_dies();
  if (connection_) connection_->close(Side::kAgent, world_.random().chance(0.5));
}

void SimAgent::later(Time delay, std::function<void()> act) {
  world_.after(delay, [lives = lives_, act = std::move(act)] {
    if (*lives) act();
  });
}

// ---- towards the head ---------------------------------------------------------------------------

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
  connection_->attach(Side::kAgent, {[this](const proto::Message& message) { head_says(message); },
                                     [this] { connection_ended(); }});
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
  if (joined_)
    failures_ = 0;
  else
    ++failures_;
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
    joined_ = true;
    grant(greeted_);
    if (!joined_) return;  // the greeting took longer than the lease
    pump();
    return beat();
  }
  if (const auto* taken = std::get_if<proto::Taken>(&message)) {
    outbox_.taken(taken->count);
    settled();
  } else if (std::holds_alternative<proto::Heartbeat>(message)) {
    if (beats_.empty()) return;
    const Time from = beats_.front();
    beats_.pop_front();
    grant(from);
  } else if (const auto* port = std::get_if<proto::ReservePort>(&message)) {
    if (world_.random().chance(0.01))
      send(proto::PortReserved{port->job, port->attempt, 0, "no port is free"});
    else
      send(proto::PortReserved{port->job, port->attempt, 20'000 + world_.random().between(0, 9999), ""});
  } else if (const auto* launching = std::get_if<proto::Launch>(&message)) {
    launch(*launching);
  } else if (const auto* stopping = std::get_if<proto::StopAttempt>(&message)) {
    stop({stopping->job, stopping->attempt}, stopping->grace_s, stopping->reason);
  } else if (const auto* yielding = std::get_if<proto::YieldAttempt>(&message)) {
    yield({yielding->job, yielding->attempt});
  } else if (const auto* pins = std::get_if<proto::CheckpointPins>(&message)) {
    const proto::RankKey key{pins->job, pins->attempt, 0};
    if (Slot* slot = find(key)) {
      slot->pins = *pins;
      host_.pin(key, pins->paths);
    }
  }
}

void SimAgent::grant(Time from) {
  granted_ = from;
  host_.files.lease = AgentFiles::Lease{from, lease_};
  if (std::exchange(lease_held_, true)) return;
  watch_lease();
}

std::int64_t SimAgent::send(const proto::Message& message) {
  last_number_ = outbox_.push(message);
  pump();
  return last_number_;
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
  // a tick of the agent
  if (left > 0) return later(left + seconds(world_.random().between(0.0, 0.05)), [this] { watch_lease(); });
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

// ---- the ranks ----------------------------------------------------------------------------------

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
  host_.files.live[key] = slot.launch;
  for (const auto& placement : launch.ranks) {
    slot.ranks[placement.rank].placement = placement;
    host_.spawn({launch.job, launch.attempt, placement.rank}, slot.launch, placement);
  }
}

void SimAgent::recover() {
  for (const auto& [key, launch] : host_.files.live) {
    world_.note("adopt", key.first, key.second, node_);
    auto& slot = attempts_[key];
    slot.launch = launch;
    for (const auto& placement : launch->ranks) slot.ranks[placement.rank].placement = placement;
    for (auto& [number, rank] : slot.ranks) {
      const proto::RankKey rank_key{key.first, key.second, number};
      const auto end = host_.files.ends.find(rank_key);
      if (end == host_.files.ends.end()) continue;
      relay_outbox(rank_key, rank);
      finish(end->second);
    }
  }
  forget_ended();
  if (attempts_.empty()) return;
  if (host_.files.lease) {
    granted_ = host_.files.lease->from;
    lease_ = host_.files.lease->length;
  }
  lease_held_ = true;
  watch_lease();
}

void SimAgent::supervisor_joined() {
  supervised_ = true;
  const auto attempts = attempts_;  // an end changes them
  for (const auto& [key, slot] : attempts)
    for (const auto& [number, rank] : slot.ranks) {
      const proto::RankKey rank_key{key.first, key.second, number};
      if (rank.ended) continue;
      if (host_.in_hand(rank_key)) {
        if (slot.stopping) host_.signal(rank_key, slot.killed ? SIGKILL : SIGTERM);
      } else if (const auto record = host_.exit_record(rank_key)) {
        process_gone(rank_key, *record);
      } else if (!rank.started && !host_.was_started(rank_key) && !slot.stopping) {
        host_.spawn(rank_key, slot.launch, rank.placement);
      } else {
        proto::ExitStatus lost;
        lost.lost = true;
        end_without_process(
            rank_key, lost,
            {"lost", "its supervisor came back without it and left no record of how it ended", {}});
      }
    }
  forget_ended();
}

void SimAgent::supervisor_died() {
  supervised_ = true;  // the next one is started at once
  const auto attempts = attempts_;
  for (const auto& [key, slot] : attempts)
    for (const auto& [number, rank] : slot.ranks) {
      const proto::RankKey rank_key{key.first, key.second, number};
      if (rank.ended || host_.in_hand(rank_key)) continue;
      if (const auto record = host_.exit_record(rank_key)) {
        process_gone(rank_key, *record);
        continue;
      }
      proto::ExitStatus lost;
      lost.lost = true;
      end_without_process(rank_key, lost,
                          {"lost", "its supervisor died and left no record of how it ended", {}});
    }
  forget_ended();
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

void SimAgent::yield(Key key) {
  const auto found = attempts_.find(key);
  if (found == attempts_.end() || found->second.stopping) return;
  world_.note("yield", key.first, key.second, node_);
  if (!found->second.launch->spec.train_func) return signal(found->second, SIGTERM);
  for (const auto& [rank, state] : found->second.ranks)
    if (!state.ended) host_.ask_to_yield({key.first, key.second, rank});
}

void SimAgent::signal(const Slot& slot, int number) {
  const auto ranks = slot.ranks;  // an end changes the slot
  const auto launch = slot.launch;
  for (const auto& [rank, state] : ranks)
    if (!state.ended && supervised_) host_.signal({launch->job, launch->attempt, rank}, number);
}

void SimAgent::rank_started(const proto::RankKey& key, std::int64_t pid) {
  Slot* slot = find(key);
  if (slot == nullptr || slot->ranks.at(key.rank).ended) return;
  slot->ranks.at(key.rank).started = true;
  send(proto::RankStarted{key, pid});
  if (!slot->launch->spec.train_func) send(proto::RankRunning{key});
  if (slot->stopping) host_.signal(key, slot->killed ? SIGKILL : SIGTERM);
}

void SimAgent::on_worker_message(const proto::RankKey& key, const proto::Message& message) {
  Slot* slot = find(key);
  if (slot == nullptr || slot->ranks.at(key.rank).ended) return;
  Rank& rank = slot->ranks.at(key.rank);
  rank.unconfirmed.push_back(relay(rank, message));
}

std::int64_t SimAgent::relay(Rank& rank, const proto::Message& message) {
  if (const auto* report = std::get_if<proto::RankReport>(&message)) {
    // told before: settled at the latest with what was told last
    if (report->seq <= rank.last_seq) return last_number_;
    rank.last_seq = report->seq;
  } else if (std::exchange(rank.entered, true)) {
    return last_number_;
  }
  return send(message);
}

void SimAgent::relay_outbox(const proto::RankKey& key, Rank& rank) {
  for (const auto& message : host_.outbox(key)) relay(rank, message);
}

/// The head has stored what it has confirmed: workers need not keep it, nor the files the attempts that are
/// over.
void SimAgent::settled() {
  const auto number = outbox_.settled();
  for (auto& [key, slot] : attempts_)
    for (auto& [rank_number, rank] : slot.ranks) {
      std::size_t count = 0;
      for (; !rank.unconfirmed.empty() && rank.unconfirmed.front() <= number; rank.unconfirmed.pop_front())
        ++count;
      if (count > 0) host_.confirm({key.first, key.second, rank_number}, count);
    }
  std::erase_if(over_, [&](const auto& over) {
    if (over.second > number) return false;
    host_.files.live.erase(over.first);
    std::erase_if(host_.files.ends, [&](const auto& end) {
      return end.first.job == over.first.first && end.first.attempt == over.first.second;
    });
    return true;
  });
}

void SimAgent::process_gone(const proto::RankKey& key, const proto::ExitStatus& status) {
  Slot* slot = find(key);
  if (slot == nullptr || slot->ranks.at(key.rank).ended) return;
  relay_outbox(key, slot->ranks.at(key.rank));
  proto::RankEnded end;
  end.key = key;
  end.status = status;
  if (!status.success())
    end.error = proto::RankError{status.signal ? "signal" : "exit", to_string(status), {}};
  end.yielded = host_.yielded(key);
  if (status.success() && slot->launch->validates)
    end.return_value = {{"score", score(slot->launch->validates->index)}};
  if (slot->stopping && end.error) end.error->message += " (" + slot->reason + ")";
  finish(end);
}

void SimAgent::end_without_process(const proto::RankKey& key, const proto::ExitStatus& status,
                                   proto::RankError error) {
  Slot* slot = find(key);
  if (slot == nullptr || slot->ranks.at(key.rank).ended) return;
  proto::RankEnded end;
  end.key = key;
  end.status = status;
  end.error = std::move(error);
  finish(end);
}

void SimAgent::finish(const proto::RankEnded& end) {
  Slot& slot = *find(end.key);
  slot.ranks.at(end.key.rank).ended = true;
  host_.files.ends[end.key] = end;
  slot.last_end = send(end);
}

void SimAgent::forget_ended() {
  for (auto it = attempts_.begin(); it != attempts_.end();) {
    const bool over =
        std::ranges::all_of(it->second.ranks, [](const auto& rank) { return rank.second.ended; });
    if (over) over_[it->first] = it->second.last_end;
    it = over ? attempts_.erase(it) : std::next(it);
  }
}

Time SimAgent::rank_lease() const {
  return lease_held_ ? agent::rank_lease(world_.now(), granted_, lease_, heartbeat_, worker_lease_)
                     : worker_lease_;
}

void SimAgent::beat_workers() {
  host_.heartbeat();
  later(std::max(rank_lease() / 5, seconds(0.05)), [this] { beat_workers(); });
}

}  // namespace rtrain::sim
