#include "daemon/agent/attempts.h"

#include "common/base/duration.h"
#include "common/log/log.h"
#include "common/os/file.h"
#include "daemon/agent/log_bound.h"
#include "daemon/agent/rank_outcome.h"
#include "daemon/agent/strays.h"
#include "proto/record/rank_files.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <set>
#include <sstream>
#include <utility>

namespace rtrain::agent {
using namespace std::chrono_literals;
namespace {

// a zygote that loads LibTorch from a cold disk needs seconds, not a minute
constexpr auto kSpawnLimit = 60s;
constexpr auto kLastWordsLimit = 2s;  // between a process's end and the end of its socket
constexpr auto kAnswerLimit = 2s;     // for ranks that were asked where they are and are to be stopped
constexpr auto kUnusedPortLimit = 60s;
constexpr auto kBoundFailed = 600s;
constexpr auto kGpuLook = 500ms;
// for the memory of a rank that has ended; the driver frees it after the process
constexpr auto kGpuWait = 10s;
constexpr auto kBoundEvery = 200ms;   // a disk takes a few hundred MiB meanwhile
constexpr double kYieldedGraceS = 2;  // between SIGTERM and SIGKILL of what did not yield in time

bool was_started(const std::string& rank_dir) { return std::filesystem::exists(proto::log_path(rank_dir)); }

}  // namespace

void Attempts::reserve_port(const proto::ReservePort& request) {
  auto port = PortReservation::take();
  if (!port) {
    tell(proto::PortReserved{request.job, request.attempt, 0, port.error().message()});
    return;
  }
  const int number = port->port();
  ports_.insert_or_assign(Key{request.job, request.attempt}, Port{std::move(*port), Clock::now()});
  tell(proto::PortReserved{request.job, request.attempt, number, ""});
}

void Attempts::launch(const proto::Launch& launch) {
  const Key key{launch.job, launch.attempt};
  if (attempts_.contains(key)) return log::warn("launched twice, ignored", {{"job", to_string(launch.job)}});
  Slot& slot = attempts_[key];
  slot.launch = launch;
  slot.secret = os::random_hex(16);
  slot.cgroup_tree = setting_.cgroup_tree;
  slot.launched = Clock::now();
  for (const auto& placement : launch.ranks) slot.ranks[placement.rank].placement = placement;
  const auto recorded = record_attempt(setting_.state_dir, {launch, slot.secret, slot.cgroup_tree, false});
  const auto supervisor =
      recorded ? setting_.supervisor(is_train_func(slot)) : Result<SupervisorProcess*>(recorded.error());
  for (auto& [number, rank] : slot.ranks) {
    rank.dir = proto::rank_dir(setting_.state_dir, key_of(slot, rank));
    if (supervisor) continue;
    const auto& error = supervisor.error();
    const auto way_out = error.hint().empty() ? "" : "; " + error.hint();
    end_without_process(slot, rank, "spawn", error.message() + way_out, false);
  }
  const auto found = intruders(slot);
  for (const auto& process : found)
    log::warn(bystanders_.is_one(process) ? "a process that is of no job uses a GPU of a job that starts"
                                          : "a process still uses a GPU of a job that is to start",
              {{"job", to_string(launch.job)},
               {"gpu", std::to_string(process.gpu)},
               {"pid", std::to_string(process.pid)},
               {"bytes", std::to_string(process.memory_bytes)}});
  if (bystanders_.are_all(found))
    spawn(slot, found);
  else
    slot.held_until = Clock::now() + kGpuWait;
  forget_ended();
}

std::set<int> Attempts::own_gpus(const Slot& slot) const {
  std::set<int> gpus;
  for (const auto& [number, rank] : slot.ranks)
    gpus.insert(rank.placement.gpus.begin(), rank.placement.gpus.end());
  for (const auto& [key, other] : attempts_)
    for (const auto& [number, rank] : other.ranks)
      if (&other != &slot && !rank.ended)
        for (const int gpu : rank.placement.gpus) gpus.erase(gpu);
  return gpus;
}

std::vector<os::GpuProcess> Attempts::intruders(const Slot& slot) const {
  const auto gpus = own_gpus(slot);
  if (gpus.empty()) return {};
  return setting_.gpu_processes({gpus.begin(), gpus.end()});
}

void Attempts::spawn(Slot& slot, const std::vector<os::GpuProcess>& found) {
  bystanders_.taken(own_gpus(slot), found);
  if (slot.held_until && Clock::now() >= *slot.held_until)
    log::warn("a job starts although its GPUs are still in use", {{"job", to_string(slot.launch.job)}});
  slot.held_until.reset();
  slot.launched = Clock::now();
  const auto supervisor = setting_.supervisor(is_train_func(slot));
  for (auto& [number, rank] : slot.ranks) {
    if (rank.ended) continue;
    if (!supervisor) {
      end_without_process(slot, rank, "spawn", supervisor.error().message(), false);
      continue;
    }
    auto request = spawn_request(slot, rank);
    // What the supervisor refuses to read would be sent to it again and again.
    if (const auto bytes = proto::encode(request).json.size(); bytes > proto::FrameLimits{}.json_bytes_max)
      end_without_process(slot, rank, "exec",
                          "its arguments and environment have " + std::to_string(bytes) +
                              " bytes together; at most " +
                              std::to_string(proto::FrameLimits{}.json_bytes_max) + " are passed on",
                          false);
    else
      (*supervisor)->send(std::move(request));
  }
}

void Attempts::adopt(const LiveAttempt& attempt) {
  const auto& launch = attempt.launch;
  const Key key{launch.job, launch.attempt};
  Slot& slot = attempts_[key];
  slot.launch = launch;
  slot.secret = attempt.secret;
  slot.cgroup_tree = attempt.cgroup_tree;
  // the head says again until when
  if (attempt.yielding) slot.yield = proto::YieldAttempt{launch.job, launch.attempt, 0, {}};
  slot.launched = Clock::now();
  for (const auto& placement : launch.ranks) {
    for (const int gpu : placement.gpus) bystanders_.taken(gpu);
    Rank& rank = slot.ranks[placement.rank];
    rank.placement = placement;
    rank.dir = proto::rank_dir(setting_.state_dir, key_of(slot, rank));
    if (auto process = proto::read_process(rank.dir)) rank.process = *process;
    if (const auto end = read_end(rank.dir)) {
      relay_outbox(slot, rank);
      finish(slot, rank, *end);
    }
  }
  log::info("an attempt of an earlier agent is taken up", {{"job", to_string(launch.job)},
                                                           {"attempt", to_string(launch.attempt)},
                                                           {"ranks", std::to_string(slot.ranks.size())}});
  // The port was free while nobody held it: it is ours again unless rank 0 listens on it by now, as it
  // should, or somebody took it.
  if (slot.ranks.contains(0) && launch.master_port > 0)
    if (auto port = PortReservation::take(launch.master_port))
      ports_.insert_or_assign(key, Port{std::move(*port), Clock::now()});
  forget_ended();
}

proto::SpawnRank Attempts::spawn_request(const Slot& slot, const Rank& rank) const {
  const auto& launch = slot.launch;
  NodeFacts facts = setting_.facts();
  facts.agent_socket = setting_.socket;
  facts.secret = slot.secret;
  facts.launch_file = proto::attempt_dir(setting_.state_dir, launch.job, launch.attempt) + "/launch.json";
  proto::SpawnRank spawn;
  spawn.key = key_of(slot, rank);
  spawn.argv = launch.spec.command;
  spawn.train_func = launch.spec.train_func;
  spawn.env = rank_environment(launch, rank.placement, rank.dir, facts);
  spawn.working_dir = launch.spec.working_dir;
  spawn.rank_dir = rank.dir;
  spawn.cgroup = group_of(slot, rank);
  spawn.kill_wait_s = setting_.kill_wait_s;
  return spawn;
}

void Attempts::stop(JobId job, Attempt attempt, double grace_s, const std::string& reason) {
  const auto found = attempts_.find({job, attempt});
  if (found == attempts_.end()) return;
  Slot& slot = found->second;
  const auto kill_at = Clock::now() + to_milliseconds(grace_s);
  if (slot.stopping) {
    slot.kill_at = std::min(slot.kill_at, kill_at);
    return;
  }
  slot.stopping = true;
  slot.kill_at = kill_at;
  slot.reason = reason;
  if (slot.held_until) {
    for (auto& [number, rank] : slot.ranks)
      if (!rank.ended) end_without_process(slot, rank, "lost", "was never started: " + reason, true);
    return forget_ended();
  }
  if (const auto supervisor = setting_.supervisor(is_train_func(slot)))
    for (auto& [number, rank] : slot.ranks)
      if (!rank.ended && rank.pid == 0 && (*supervisor)->withdraw(key_of(slot, rank)))
        end_without_process(slot, rank, "lost", "was never started: " + reason, true);
  terminate(slot);
  forget_ended();
}

bool Attempts::awaits_answers(const Slot& slot) {
  return std::ranges::any_of(slot.ranks, [](const auto& one) {
    return one.second.debugged && one.second.worker && !one.second.ended && !one.second.status;
  });
}

void Attempts::terminate(Slot& slot) {
  const auto now = Clock::now();
  if (awaits_answers(slot) && now < slot.debugged_at + kAnswerLimit) {
    if (!slot.held_since) slot.held_since = now;
    return;
  }
  if (slot.held_since) slot.kill_at += now - *slot.held_since;  // its grace begins here
  slot.held_since.reset();
  signal(slot, SIGTERM);
}

void Attempts::yield(const proto::YieldAttempt& request) {
  const auto found = attempts_.find({request.job, request.attempt});
  if (found == attempts_.end() || found->second.stopping) return;
  Slot& slot = found->second;
  // nothing of it runs yet
  if (slot.held_until) return stop(request.job, request.attempt, 0, request.reason);
  const bool again = slot.yield.has_value();
  slot.yield = request;
  slot.stop_at = Clock::now() + to_milliseconds(request.grace_s);
  if (again) return;
  log::info(
      "an attempt is asked to yield",
      {{"job", to_string(request.job)}, {"attempt", to_string(request.attempt)}, {"reason", request.reason}});
  record_yield(setting_.state_dir, request.job, request.attempt);
  const auto supervisor = setting_.supervisor(is_train_func(slot));
  for (const auto& [number, rank] : slot.ranks) {
    if (rank.ended || rank.status) continue;
    if (rank.worker && rank.confirms()) proto::send(*rank.worker, request);
    // Not sent again: a program that saves its state may take a second one for an order to stop.
    else if (!is_train_func(slot) && supervisor)
      (*supervisor)->send(proto::SignalRank{key_of(slot, rank), SIGTERM});
  }
}

void Attempts::stop_all(double grace_s, const std::string& reason) {
  std::vector<Key> keys;
  for (auto& [key, slot] : attempts_) {
    keys.push_back(key);
    for (auto& [number, rank] : slot.ranks) rank.debugged.reset();  // no time is left for answers
  }
  for (const auto& [job, attempt] : keys) stop(job, attempt, grace_s, reason);
  for (auto& [key, slot] : attempts_)
    if (std::exchange(slot.held_since, std::nullopt)) signal(slot, SIGTERM);
}

void Attempts::signal(const Slot& slot, int number) {
  const auto supervisor = setting_.supervisor(is_train_func(slot));
  if (!supervisor) return;  // it died: supervisor_died() ends its ranks
  for (const auto& [rank_number, rank] : slot.ranks)
    if (!rank.ended && !rank.status) (*supervisor)->send(proto::SignalRank{key_of(slot, rank), number});
}

void Attempts::spawned(const proto::SpawnResult& result) {
  Rank* rank = find(result.key);
  if (rank == nullptr || rank->ended) return;
  Slot& slot = attempts_[{result.key.job, result.key.attempt}];
  if (!result.error.empty()) {
    const auto reported = proto::read_error(rank->dir);  // by its supervisor: the job's fault
    end_without_process(slot, *rank, reported ? reported->kind : "spawn", result.error, false);
    return forget_ended();
  }
  if (rank->pid == 0) {  // else it was told before
    rank->pid = result.pid;
    if (auto process = proto::read_process(rank->dir))
      rank->process = *process;
    else
      rank->process = os::identify(static_cast<pid_t>(result.pid));
    tell(proto::RankStarted{result.key, result.pid});
    if (!is_train_func(slot)) tell(proto::RankRunning{result.key});
  }
  // A stop or a yield that came while the process was being made has not reached it.
  if (slot.stopping || (slot.yield && !is_train_func(slot)))
    if (const auto supervisor = setting_.supervisor(is_train_func(slot)))
      (*supervisor)->send(proto::SignalRank{result.key, slot.killed ? SIGKILL : SIGTERM});
}

void Attempts::ended(const proto::SupervisedEnd& end) {
  Rank* rank = find(end.key);
  if (rank == nullptr || rank->ended) return;
  Slot& slot = attempts_[{end.key.job, end.key.attempt}];
  // before the end: the head gives its GPUs away then
  if (end.stuck_pid != 0) quarantine(slot, *rank, static_cast<pid_t>(end.stuck_pid));
  if (end.stuck_pid != 0 && end.status.lost)
    give_up(slot, *rank, static_cast<pid_t>(end.stuck_pid));
  else
    process_gone(slot, *rank, end.status);
  forget_ended();
}

void Attempts::quarantine(const Slot& slot, const Rank& rank, pid_t stuck) {
  const auto process = os::identify(stuck);
  setting_.stuck({key_of(slot, rank), rank.placement.gpus,
                  process.value_or(os::ProcessIdentity{stuck, 0, os::boot_id()}), group_of(slot, rank)});
}

void Attempts::give_up(Slot& slot, Rank& rank, pid_t stuck) {
  const auto stat = os::stat_of(stuck);
  auto waits_in = os::read_file("/proc/" + std::to_string(stuck) + "/wchan", 256);
  std::string where = stat ? std::string("state ") + stat->state : "";
  if (waits_in && !waits_in->empty() && *waits_in != "0") where += ", in " + *waits_in;
  relay_outbox(slot, rank);
  if (rank.worker) rank.worker->close();
  rank.worker.reset();
  std::ostringstream why;
  why << "process " << stuck << " does not end: SIGKILL was sent " << setting_.kill_wait_s << " s ago"
      << (where.empty() ? "" : " (" + where + ")");
  if (!rank.placement.gpus.empty()) why << "; its GPUs are quarantined until it has gone";
  end_without_process(slot, rank, "unkillable", why.str(), true);
}

void Attempts::supervisor_joined(bool is_function, const std::vector<proto::RankKey>& in_hand,
                                 const Waits& waits) {
  const auto supervisor = setting_.supervisor(is_function);
  if (!supervisor) return;
  const std::set<proto::RankKey> held(in_hand.begin(), in_hand.end());
  for (auto& [key, slot] : attempts_) {
    if (is_train_func(slot) != is_function || slot.held_until) continue;
    for (auto& [number, rank] : slot.ranks) {
      const auto rank_key = key_of(slot, rank);
      if (rank.ended || rank.status || waits(rank_key)) continue;
      if (held.contains(rank_key)) {
        if (slot.stopping) (*supervisor)->send(proto::SignalRank{rank_key, slot.killed ? SIGKILL : SIGTERM});
      } else if (const auto record = proto::read_exit_record(rank.dir)) {
        process_gone(slot, rank, record->status);
      } else if (rank.pid == 0 && !rank.process && !was_started(rank.dir) && !slot.stopping) {
        // the request did not arrive: a rank that was started has a record and a log
        (*supervisor)->send(spawn_request(slot, rank));
      } else {
        end_without_process(slot, rank, "lost",
                            std::string("its supervisor (") + (is_function ? "zygote" : "keeper") +
                                ") came back without it and left no record of how it ended",
                            true);
      }
    }
  }
  forget_ended();
}

void Attempts::supervisor_died(bool is_function, const Waits& waits) {
  std::vector<Remains> remains;
  std::vector<std::pair<const Slot*, const Rank*>> left;
  for (const auto& [key, slot] : attempts_)
    for (const auto& [number, rank] : slot.ranks)
      if (is_train_func(slot) == is_function && !rank.ended && !rank.status &&
          !(rank.pid == 0 && waits(key_of(slot, rank)))) {
        remains.push_back({rank.dir, group_of(slot, rank), rank.process});
        left.emplace_back(&slot, &rank);
      }
  // Before anyone is told: the next attempt must not run beside what is left of this one, nor get its GPUs.
  for (const auto& [which, pid] : kill_remains(remains))
    quarantine(*left[which].first, *left[which].second, pid);
  for (auto& [key, slot] : attempts_) {
    if (is_train_func(slot) != is_function || slot.held_until) continue;
    for (auto& [number, rank] : slot.ranks) {
      if (rank.ended || rank.status) continue;
      const auto role = is_function ? "zygote" : "keeper";
      if (const auto record = proto::read_exit_record(rank.dir)) {
        process_gone(slot, rank, record->status);
        // waits for the next supervisor, or was handed to the dead one, and nobody knows what became of it
      } else if (rank.pid == 0 && !rank.process && !was_started(rank.dir)) {
        if (!waits(key_of(slot, rank)))
          end_without_process(slot, rank, "lost",
                              std::string("its supervisor (") + role + ") died before it had started it",
                              true);
      } else {
        // A rank without its supervisor has nobody to write down how it ends.
        end_without_process(
            slot, rank, "lost",
            std::string("its supervisor (") + role + ") died and left no record of how it ended", true);
      }
    }
  }
  forget_ended();
}

void Attempts::supervisor_unusable(bool is_function, const std::string& why, const Waits& withdraw) {
  for (auto& [key, slot] : attempts_) {
    if (is_train_func(slot) != is_function || slot.held_until) continue;
    for (auto& [number, rank] : slot.ranks) {
      if (rank.ended || rank.status || rank.pid != 0 || rank.process) continue;
      (void)withdraw(key_of(slot, rank));
      end_without_process(slot, rank, "spawn", why, false);
    }
  }
  forget_ended();
}

void Attempts::tick() {
  const auto now = Clock::now();
  std::vector<Key> late;
  for (const auto& [key, slot] : attempts_)
    if (slot.stop_at && now >= *slot.stop_at && !slot.stopping) late.push_back(key);
  for (const auto& [job, attempt] : late)
    stop(job, attempt, kYieldedGraceS, "did not yield in time: " + attempts_[{job, attempt}].yield->reason);
  for (auto& [key, slot] : attempts_) {
    if (slot.held_since) terminate(slot);
    if (slot.stopping && !slot.killed && now >= slot.kill_at && !slot.held_since) {
      slot.killed = true;
      signal(slot, SIGKILL);
    }
    for (auto& [number, rank] : slot.ranks) {
      if (rank.ended) continue;
      if (rank.status && now - rank.gone_since > kLastWordsLimit) {
        if (rank.worker) rank.worker->close();  // something it left behind holds the socket open
        rank.worker.reset();
        process_gone(slot, rank, *rank.status);
      } else if (rank.pid == 0 && !rank.status && now - slot.launched > kSpawnLimit) {
        // Taken back, or ended wherever it is on its way: a folder on a dead file server may come back to
        // life after this.
        if (const auto supervisor = setting_.supervisor(is_train_func(slot));
            supervisor && !(*supervisor)->withdraw(key_of(slot, rank)))
          (*supervisor)->send(proto::SignalRank{key_of(slot, rank), SIGKILL});
        end_without_process(slot, rank, "spawn",
                            std::string("the ") + (is_train_func(slot) ? "zygote" : "keeper") +
                                " did not start it within 60 s",
                            false);
      }
    }
  }
  if (now >= next_bound_) {
    next_bound_ = now + kBoundEvery;
    for (const auto& [key, slot] : attempts_)
      for (const auto& [number, rank] : slot.ranks)
        if (rank.pid != 0 && !rank.ended) bound(rank);
  }
  if (now >= next_gpu_look_) {
    next_gpu_look_ = now + kGpuLook;
    for (auto& [key, slot] : attempts_)
      if (slot.held_until)
        if (const auto found = intruders(slot); now >= *slot.held_until || bystanders_.are_all(found))
          spawn(slot, found);
  }
  std::erase_if(ports_, [&](const auto& port) {
    return !attempts_.contains(port.first) && now - port.second.since > kUnusedPortLimit;
  });
  forget_ended();
}

void Attempts::bound(const Rank& rank) {
  if (setting_.log_bytes_max == 0) return;
  const auto cut = bound_log(proto::log_path(rank.dir), setting_.log_bytes_max);
  if (cut && *cut > 0)
    log::warn("the oldest part of a log is cut",
              {{"log", proto::log_path(rank.dir)}, {"bytes", std::to_string(*cut)}});
  if (cut || cut.error().code() == Errc::kNotFound) return;
  next_bound_ = Clock::now() + kBoundFailed;
  log::error("a log can grow without end: it cannot be cut", {{"cause", cut.error().message()}});
}

std::vector<proto::RankKey> Attempts::running() const {
  std::vector<proto::RankKey> keys;
  for (const auto& [key, slot] : attempts_)
    for (const auto& [number, rank] : slot.ranks)
      if (!rank.ended) keys.push_back(key_of(slot, rank));
  return keys;
}

bool Attempts::is_live(const proto::RankKey& key) const {
  const auto slot = attempts_.find({key.job, key.attempt});
  if (slot == attempts_.end()) return false;
  const auto rank = slot->second.ranks.find(key.rank);
  return rank != slot->second.ranks.end() && !rank->second.ended && !rank->second.status;
}

Attempts::Rank* Attempts::find(const proto::RankKey& key) {
  const auto slot = attempts_.find({key.job, key.attempt});
  if (slot == attempts_.end()) return nullptr;
  const auto rank = slot->second.ranks.find(key.rank);
  return rank == slot->second.ranks.end() ? nullptr : &rank->second;
}

void Attempts::end_without_process(Slot& slot, Rank& rank, const std::string& kind, const std::string& why,
                                   bool lost) {
  proto::RankEnded end;
  end.key = key_of(slot, rank);
  if (lost)
    end.status.lost = true;
  else
    end.status.exit_code = 127;  // as shells say "could not be run"
  end.error = proto::RankError{kind, why, {}};
  if (lost && rank.pid != 0) end.error->log_tail = os::tail_lines(proto::log_path(rank.dir), 20);
  finish(slot, rank, end);
}

void Attempts::process_gone(Slot& slot, Rank& rank, const proto::ExitStatus& status) {
  if (!rank.status) {
    rank.status = status;
    rank.gone_since = Clock::now();
  }
  if (rank.worker) return;  // its last reports may still be in the socket: worker_left() comes back here
  relay_outbox(slot, rank);
  const bool made_way = slot.yield && !slot.killed && !is_train_func(slot);
  auto end =
      compose_end(key_of(slot, rank), status, is_train_func(slot), read_last_words(rank.dir), made_way);
  // the signal was ours: say why
  if (slot.stopping && end.error) end.error->message += " (" + slot.reason + ")";
  finish(slot, rank, end);
}

void Attempts::finish(Slot& slot, Rank& rank, const proto::RankEnded& end) {
  rank.ended = true;
  rank.status = end.status;
  log::info("rank ended", {{"rank", to_string(key_of(slot, rank))},
                           {"status", to_string(end.status)},
                           {"error", end.error ? end.error->message : ""}});
  bound(rank);
  record_end(rank.dir, end);
  slot.last_end = tell(end);
}

void Attempts::forget_ended() {
  for (auto it = attempts_.begin(); it != attempts_.end();) {
    const bool over =
        std::ranges::all_of(it->second.ranks, [](const auto& rank) { return rank.second.ended; });
    if (over) {
      ports_.erase(it->first);
      over_[it->first] = it->second.last_end;
    }
    it = over ? attempts_.erase(it) : std::next(it);
  }
}

}  // namespace rtrain::agent
