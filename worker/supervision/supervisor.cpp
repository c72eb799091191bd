#include "worker/supervision/supervisor.h"

#include "common/base/duration.h"
#include "common/log/log.h"
#include "common/os/cgroup.h"
#include "common/os/file.h"
#include "proto/frame/blocking.h"
#include "proto/record/rank_files.h"
#include "worker/supervision/crash_report.h"
#include "worker/supervision/fork_rank.h"
#include "worker/supervision/oom.h"
#include "worker/supervision/orphans.h"
#include "worker/supervision/start_error.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rtrain::supervision {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;
using namespace proto;

constexpr auto kRedial = 200ms;
constexpr auto kLook = 500ms;   // between looks at what ranks without a control group have below them
constexpr auto kSoon = 2ms;     // between looks at what was killed, and
constexpr auto kLater = 100ms;  // when it has not ended for
constexpr auto kSoonFor = 500ms;

ExitStatus status_of(const siginfo_t& info) {
  ExitStatus status;
  if (info.si_code == CLD_EXITED)
    status.exit_code = info.si_status;
  else
    status.signal = info.si_status;
  return status;
}

class Supervisor {
 public:
  Supervisor(const SupervisorOptions& options, const ChildMain& child) : options_(options), child_(child) {
    if (const char* secret = std::getenv("RTRAIN_SECRET")) secret_ = secret;
    ::unsetenv("RTRAIN_SECRET");
    if (const char* agent = std::getenv("RTRAIN_ENDS_WITH"))
      ends_with_ = static_cast<pid_t>(std::atol(agent));
    ::unsetenv("RTRAIN_ENDS_WITH");
  }

  int run() {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t watched;
    sigemptyset(&watched);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&watched, signal);
    ::sigprocmask(SIG_BLOCK, &watched, nullptr);
    if (ends_with_ != 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (::getppid() != ends_with_) exit_code_ = 0;  // it has ended before it could be asked for
    }
    const int signals = ::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    heard_ = Clock::now();
    while (!exit_code_) {
      if (agent_ < 0) dial();
      if (exit_code_) break;
      // a negative descriptor is skipped
      std::vector<pollfd> waits{{signals, POLLIN, 0}, {agent_, POLLIN, 0}};
      for (const auto& [pid, rank] : ranks_)
        if (rank.setup >= 0) waits.push_back({rank.setup, POLLIN, 0});
      ::poll(waits.data(), waits.size(), static_cast<int>(pause().count()));
      if ((waits[0].revents & POLLIN) != 0) take_signals(signals);
      take_setups();
      reap();
      clear();
      look();
      if (agent_ >= 0 && waits[1].revents != 0) take_message();
      if (!exit_code_ && Clock::now() - heard_ >= lease_) {
        log::warn("the lease from the agent ran out", {{"ranks", std::to_string(ranks_.size())}});
        exit_code_ = 3;
      }
    }
    end_all_ranks();
    return *exit_code_;
  }

 private:
  struct Rank {
    RankKey key;
    RankProcess process;
    std::string cgroup;  ///< "": none
    std::chrono::milliseconds kill_wait{};
    int setup = -1;  ///< the pipe of a rank that is not in its program yet
    std::string trouble;
    /// its group was sent a signal that it may answer: what is left of it has the grace, too
    bool asked = false;
    std::optional<Clock::time_point> killed;  ///< when SIGKILL was sent for the first time
    std::optional<ExitStatus> status;         ///< the process is gone, what it left behind may not be
    std::optional<SupervisedEnd> stuck;       ///< told: SIGKILL does not end it, or something of it
    OomWatch oom;
  };

  void dial() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, options_.socket.c_str(), sizeof(address.sun_path) - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      ::close(fd);
      return;
    }
    agent_ = fd;
    Hello hello;
    hello.role = options_.role;
    hello.token = secret_;
    hello.pid = ::getpid();
    hello.torch_version = options_.torch_version;
    for (const auto& [pid, rank] : ranks_) hello.running.push_back(rank.key);
    for (const auto& rank : ended_)
      if (rank.trouble.empty()) hello.running.push_back(rank.key);
    send(hello);
    for (const auto& [pid, rank] : ranks_) {  // it may not have been heard
      if (rank.setup < 0) send(SpawnResult{rank.key, pid, ""});
      if (rank.stuck) send(*rank.stuck);
    }
    for (const auto& rank : ended_)
      if (rank.stuck) send(*rank.stuck);
  }

  void hang_up() {
    if (agent_ >= 0) ::close(agent_);
    agent_ = -1;
  }

  void send(const Message& message) {
    if (agent_ < 0) return;  // the agent learns what it missed from the records on disk
    if (!write_frame(agent_, encode(message))) hang_up();
  }

  /// At least a millisecond.
  std::chrono::milliseconds lease_left() const {
    return std::max(1ms, std::chrono::ceil<std::chrono::milliseconds>(heard_ + lease_ - Clock::now()));
  }

  /// Until the lease is over, the agent is dialled again, or something that was killed is looked at again.
  std::chrono::milliseconds pause() const {
    auto limit = lease_left();
    if (agent_ < 0) limit = std::min<std::chrono::milliseconds>(limit, kRedial);
    const auto now = Clock::now();
    const auto look_again = [&](const Rank& rank) {
      limit = std::min<std::chrono::milliseconds>(
          limit, rank.killed && now - *rank.killed < kSoonFor ? kSoon : kLater);
    };
    for (const auto& rank : ended_) look_again(rank);
    for (const auto& [pid, rank] : ranks_) {
      if (rank.killed && !rank.stuck) look_again(rank);
      if (rank.cgroup.empty()) limit = std::min<std::chrono::milliseconds>(limit, kLook);
    }
    return limit;
  }

  void take_message() {
    // half a message must not outlast the lease
    auto frame = read_frame(agent_, FrameLimits{}, std::min<std::chrono::milliseconds>(5s, lease_left()));
    auto message = frame ? decode(*frame) : Result<Message>(frame.error());
    if (!message) {
      if (message.error().code() != Errc::kUnavailable)
        log::warn("the agent's message is refused", {{"cause", message.error().message()}});
      hang_up();
      return;
    }
    if (const auto* spawn = std::get_if<SpawnRank>(&*message))
      spawn_rank(*spawn);
    else if (const auto* signal = std::get_if<SignalRank>(&*message))
      signal_rank(*signal);
    else if (const auto* welcome = std::get_if<Welcome>(&*message))
      renew(welcome->lease_s);
    else if (const auto* beat = std::get_if<Heartbeat>(&*message))
      renew(beat->lease_s);
    else if (const auto* refused = std::get_if<Refused>(&*message)) {
      log::error("the agent refused this supervisor", {{"cause", refused->message}});
      exit_code_ = 1;
    }
  }

  void renew(std::optional<double> lease_s) {
    heard_ = Clock::now();
    if (lease_s) lease_ = to_milliseconds(*lease_s);
  }

  void spawn_rank(const SpawnRank& spawn) {
    const auto forked = fork_rank(spawn, options_.ranks_die_with_me, child_);
    if (!forked) {
      if (!spawn.cgroup.empty()) os::remove_cgroup(spawn.cgroup);
      return send(SpawnResult{spawn.key, 0, forked.error().message()});
    }
    const auto process = os::identify(forked->pid);
    Rank& rank = ranks_[forked->pid];
    rank.key = spawn.key;
    rank.process = {forked->pid, process ? process->start_ticks : 0, spawn.rank_dir};
    rank.cgroup = spawn.cgroup;
    rank.kill_wait = to_milliseconds(spawn.kill_wait_s);
    rank.setup = forked->setup;
    rank.oom = OomWatch(spawn.cgroup);
    // Before anyone is told: an agent that comes after this one's death can still end what we started.
    if (process)
      if (auto written = write_process(spawn.rank_dir, *process); !written)
        log::error("the rank's process cannot be written down",
                   {{"rank", to_string(spawn.key)}, {"cause", written.error().message()}});
  }

  void take_setups() {
    for (auto it = ranks_.begin(); it != ranks_.end();) {
      const auto rank = it++;
      if (rank->second.setup >= 0 && read_setup(rank->second.setup, rank->second.trouble)) finish_setup(rank);
    }
  }

  /// The rank is in its program, or, with trouble, is none: its process ends by itself.
  void finish_setup(std::map<pid_t, Rank>::iterator rank) {
    auto& [pid, set_up] = *rank;
    ::close(std::exchange(set_up.setup, -1));
    const auto error = set_up.trouble.empty() ? StartError{} : start_error_of(set_up.trouble);
    if (error.kind == "exec")  // before it is told: the agent looks there for whose fault it is
      if (auto written = proto::write_error(set_up.process.dir, {error.kind, error.message, {}}); !written)
        log::warn("a rank's error cannot be written",
                  {{"rank", to_string(set_up.key)}, {"cause", written.error().message()}});
    send(SpawnResult{set_up.key, set_up.trouble.empty() ? pid : 0, error.message});
    if (set_up.trouble.empty()) return;
    kill_all(set_up);
    ended_.push_back(std::move(set_up));
    ranks_.erase(rank);
  }

  /// Not reaped yet: the number is still theirs. A rank that has no process group yet is one process.
  static void signal_group(pid_t pid, int signal) {
    if (::kill(-pid, signal) != 0) ::kill(pid, signal);
  }

  /// Whether a process group has members. Its leader may have been reaped: the kernel does not give the
  /// number away before they end.
  static bool group_lives(pid_t leader) { return ::kill(-leader, 0) == 0; }

  /// All that can be found of a rank. Its process may have ended, and must not have been reaped.
  static void kill_all(Rank& rank) {
    if (!rank.killed) rank.killed = Clock::now();
    if (rank.cgroup.empty())
      Orphans::kill_below(rank.process.pid);
    else
      os::kill_cgroup(rank.cgroup);
    signal_group(rank.process.pid, SIGKILL);
  }

  void signal_rank(const SignalRank& request) {
    for (auto& [pid, rank] : ranks_) {
      if (rank.key != request.key) continue;
      if (request.signal == SIGKILL)
        kill_all(rank);
      else
        signal_group(pid, request.signal);
      rank.asked = true;
    }
    if (request.signal != SIGKILL) return;  // what is left of a rank was asked with its leader
    for (auto& rank : ended_)
      if (rank.key == request.key && !rank.killed) rank.killed = Clock::now();  // clear() does it
  }

  void take_signals(int fd) {
    for (signalfd_siginfo info{}; ::read(fd, &info, sizeof(info)) == sizeof(info);)
      if (info.ssi_signo != SIGCHLD) exit_code_ = 0;
  }

  void reap() {
    while (true) {
      siginfo_t info{};
      // Look without reaping: the group of a rank must be killed while its leader's number cannot be given to
      // another.
      if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
      const pid_t pid = info.si_pid;
      auto found = ranks_.find(pid);
      if (found != ranks_.end() && found->second.setup >= 0) {
        // its last words, if it ended on the way
        (void)read_setup(found->second.setup, found->second.trouble);
        finish_setup(found);
        found = ranks_.find(pid);
      }
      const bool ours = found != ranks_.end() && found->second.killed.has_value();
      // A shell dies of SIGTERM at once, the program that it runs may be writing its checkpoint.
      if (found != ranks_.end() && (!found->second.asked || found->second.killed)) kill_all(found->second);
      ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED);
      if (found == ranks_.end()) continue;
      Rank rank = std::move(found->second);
      ranks_.erase(found);
      rank.status = status_of(info);
      if (!rank.killed && !group_lives(pid)) rank.killed = Clock::now();
      write_reason(rank, ours);
      // Durable before anyone is told.
      if (auto written =
              write_exit_record(rank.process.dir, {rank.key, pid, *rank.status, os::unix_ms_now()});
          !written)
        log::error("the exit record cannot be written",
                   {{"rank", to_string(rank.key)}, {"cause", written.error().message()}});
      ended_.push_back(std::move(rank));
    }
  }

  /// What the rank itself could not say: that the kernel killed it for its memory, or where it crashed.
  static void write_reason(Rank& rank, bool killed_by_us) {
    if (rank.status->signal == SIGKILL && !killed_by_us) {
      if (const auto words = rank.oom.explain(); !words.empty() && !proto::read_error(rank.process.dir))
        if (auto written = proto::write_error(rank.process.dir, {"oom", words, {}}); !written)
          log::warn("a rank's error cannot be written",
                    {{"rank", to_string(rank.key)}, {"cause", written.error().message()}});
    } else if (rank.status->signal) {
      report_crash(rank.process.dir);
    }
  }

  std::vector<RankProcess> running() const {
    std::vector<RankProcess> processes;
    for (const auto& [pid, rank] : ranks_) processes.push_back(rank.process);
    return processes;
  }

  /// One process of an ended rank that still lives, after another SIGKILL to all of them; 0 when there is
  /// none.
  pid_t left_of(const Rank& rank, const std::vector<RankProcess>& running) {
    if (rank.cgroup.empty()) return orphans_.kill_left(rank.process, running);
    if (os::is_cgroup_empty(rank.cgroup)) return 0;
    os::kill_cgroup(rank.cgroup);
    const auto inside = os::cgroup_processes(rank.cgroup);
    return inside.empty() ? rank.process.pid : inside.front();  // it forks faster than we look
  }

  /// Ends are told when nothing of the rank is left, or what is left does not die.
  void clear() {
    for (auto& [pid, rank] : ranks_) tell_if_stuck(rank, pid);
    const auto living = ended_.empty() ? std::vector<RankProcess>{} : running();
    for (auto it = ended_.begin(); it != ended_.end();) {
      if (!it->killed) {
        if (group_lives(it->process.pid)) {  // until SIGKILL is asked for
          ++it;
          continue;
        }
        it->killed = Clock::now();
      }
      const auto left = left_of(*it, living);
      if (left != 0) {
        tell_if_stuck(*it++, left);
        continue;
      }
      const bool silent = it->stuck || !it->trouble.empty();
      if (!it->cgroup.empty()) os::remove_cgroup(it->cgroup);
      if (!silent) send(SupervisedEnd{it->key, *it->status});
      it = ended_.erase(it);
    }
  }

  void tell_if_stuck(Rank& rank, pid_t pid) {
    if (rank.stuck || !rank.killed || !rank.trouble.empty() || Clock::now() - *rank.killed < rank.kill_wait)
      return;
    log::error("a process does not end on SIGKILL",
               {{"rank", to_string(rank.key)}, {"pid", std::to_string(pid)}});
    rank.stuck = SupervisedEnd{rank.key, rank.status.value_or(ExitStatus{{}, {}, true}), pid};
    send(*rank.stuck);
  }

  void look() {
    const auto now = Clock::now();
    if (now < next_look_) return;
    next_look_ = now + kLook;
    auto fenceless = running();
    std::erase_if(fenceless,
                  [this](const RankProcess& process) { return !ranks_.at(process.pid).cgroup.empty(); });
    orphans_.look(fenceless);
  }

  void end_all_ranks() {
    for (auto& [pid, rank] : ranks_) kill_all(rank);
    for (auto& rank : ended_)
      if (!rank.killed) rank.killed = Clock::now();
    // 2 s: a process in an uninterruptible wait must not hold us
    for (int tries = 0; !(ranks_.empty() && ended_.empty()) && tries < 2000; ++tries) {
      reap();
      clear();
      if (!(ranks_.empty() && ended_.empty())) ::usleep(1000);
    }
    hang_up();
  }

  const SupervisorOptions& options_;
  const ChildMain& child_;
  std::string secret_;
  pid_t ends_with_ = 0;  ///< the agent, when this supervisor must not outlive it
  int agent_ = -1;
  std::map<pid_t, Rank> ranks_;  ///< by their process, which was not reaped
  std::vector<Rank> ended_;      ///< it was; something it left behind may live
  Orphans orphans_;
  Clock::time_point next_look_;
  Clock::time_point heard_;
  std::chrono::milliseconds lease_ = 60s;
  std::optional<int> exit_code_;
};

}  // namespace

int supervise(const SupervisorOptions& options, const ChildMain& child) {
  return Supervisor(options, child).run();
}

}  // namespace rtrain::supervision
