#include "daemon/agent/agent.h"

#include "common/base/duration.h"
#include "common/log/delivery.h"
#include "common/net/peer.h"
#include "common/os/cgroup.h"
#include "common/os/file.h"
#include "common/os/nvml.h"
#include "common/os/token.h"
#include "common/os/trusted_clock.h"
#include "daemon/agent/agent_record.h"
#include "daemon/agent/attempts.h"
#include "daemon/agent/head_link.h"
#include "daemon/agent/inventory.h"
#include "daemon/agent/log_reader.h"
#include "daemon/agent/old_jobs.h"
#include "daemon/agent/quarantine.h"
#include "daemon/agent/rank_groups.h"
#include "daemon/agent/secret.h"
#include "proto/record/rank_files.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <set>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::agent {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

constexpr double kStopGraceS = 2;
// the grace, and what SIGKILL and last words take; beyond it a supervisor hangs
constexpr auto kStopLimit = 5s;
constexpr auto kTick = 50ms;
constexpr auto kQuarantineLook = 1s;

class StateLock {
 public:
  static Result<StateLock> take(const std::string& state_dir) {
    const std::string path = state_dir + "/agent.lock";
    StateLock lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (lock.fd_ < 0) return fail_errno("open " + path, errno);
    if (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0)
      return fail(Errc::kConflict, path + ": another agent uses this state_dir",
                  "stop it, or give this one its own state_dir and node_name");
    return lock;
  }
  StateLock(StateLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  StateLock& operator=(StateLock&&) = delete;
  ~StateLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit StateLock(int fd) : fd_(fd) {}
  int fd_;
};

/// Without what names a rank: this agent may have been started by one.
std::map<std::string, std::string> own_environment() {
  std::map<std::string, std::string> result;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    const auto equals = text.find('=');
    if (equals != std::string::npos) result[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return without_rank(std::move(result));
}

/// Whoever may open the socket can cause these lines.
log::RateLimited& refused_line() {
  static log::RateLimited line(log::Level::kWarn, "more local connections are refused");
  return line;
}

/// What the last agent wrote down of the time; of one that wrote nothing, when its lease was renewed last.
std::optional<os::ClockRecord> known_before(const std::string& record, const std::string& used_file) {
  if (auto known = os::read_clock_record(record)) return known;
  struct stat info {};
  if (::stat(used_file.c_str(), &info) != 0 || info.st_mtim.tv_sec <= 0) return std::nullopt;
  return os::ClockRecord{info.st_mtim.tv_sec * 1000LL, 0, ""};
}

std::string or_beside(const std::string& configured, const char* program) {
  return configured.empty() ? os::program_dir() + "/" + program : configured;
}

}  // namespace

class Agent::Impl {
 public:
  Impl(asio::any_io_executor executor, proto::AgentConfig config, Survival survival, std::string token,
       net::Endpoint head, StateLock lock, net::Listener listener)
      : executor_(executor),
        config_(std::move(config)),
        token_(std::move(token)),
        head_(head),
        lock_(std::move(lock)),
        listener_(std::move(listener)),
        gate_(executor,
              [](std::exception_ptr escaped) {
                try {
                  std::rethrow_exception(escaped);
                } catch (const std::exception& e) {
                  log::error("a bug in the agent", {{"cause", e.what()}});
                }
              }),
        node_(take_inventory(config_)),
        lease_file_(config_.state_dir),
        before_(read_agent_record(config_.state_dir)),
        quarantine_(config_.state_dir),
        record_{before_ ? before_->secret : os::random_hex(16),
                config_.socket,
                {},
                {},
                open_rank_groups(config_.cgroup, config_.state_dir)},
        zygote_(executor,
                {"zygote", or_beside(config_.worker_program, "rtrain-worker"), config_.socket, record_.secret,
                 survival == Survival::kEndWithTheAgent},
                supervisor_callbacks(true)),
        keeper_(executor,
                {"keeper", or_beside(config_.keeper_program, "rtrain-keeper"), config_.socket, record_.secret,
                 survival == Survival::kEndWithTheAgent},
                supervisor_callbacks(false)),
        attempts_({config_.state_dir, config_.socket,
                   [this](const proto::Message& message) { return link_.send(message); },
                   [this](bool is_train_func) { return supervisor(is_train_func); },
                   [this] { return facts(); }, record_.cgroup_tree, config_.kill_wait_s,
                   config_.log_bytes_max, os::gpu_processes,
                   [this](Quarantine::Entry entry) { quarantine(std::move(entry)); }}),
        link_(std::move(head), {[this](const net::Socket& socket) { return trusts(socket); },
                                [this](const std::string& address) { return hello(address); },
                                [this](proto::Message message) { head_says(std::move(message)); },
                                [this] {
                                  if (quarantine_.was_ever()) link_.send(quarantine_.health());
                                },
                                [this] { attempts_.stop_all(0, "the lease from the head ran out"); },
                                [this](const LeaseFile::Grant& grant) { lease_file_.write(grant); },
                                [this](std::int64_t number) { attempts_.settled(number); }}),
        old_jobs_(config_.state_dir),
        clock_path_(config_.state_dir + "/clock"),
        clock_(os::ClockReading::now(), known_before(clock_path_, config_.state_dir + "/lease")) {}

  asio::awaitable<void> async_run() {
    recover();
    if (config_.prestart_zygote)
      if (auto started = zygote_.start(); !started)
        log::warn("no zygote: train_func jobs cannot run on this node",
                  {{"cause", started.error().message()}});
    asio::awaitable<void> accepting = async_accept();
    gate_.spawn(std::move(accepting));
    asio::awaitable<void> ticking = async_tick();
    gate_.spawn(std::move(ticking));
    asio::awaitable<void> linking = link_.async_run();
    gate_.spawn(std::move(linking));
    while (!stopping_) co_await async::async_sleep(kTick);
    // Ranks, then supervisors, then the connections.
    const auto limit = std::chrono::steady_clock::now() + kStopLimit;
    while (!attempts_.empty() && std::chrono::steady_clock::now() < limit) co_await async::async_sleep(5ms);
    const bool stuck = !attempts_.empty();
    if (stuck)
      log::error("ranks do not end, their supervisors do not answer",
                 {{"ranks", std::to_string(attempts_.running().size())}});
    else
      co_await link_.async_flush();
    co_await zygote_.async_stop();
    co_await keeper_.async_stop();
    if (stuck) {
      for (const bool is_train_func : {true, false})
        attempts_.supervisor_died(is_train_func, [](const proto::RankKey&) { return false; });
      co_await link_.async_flush();
    }
    ended_ = true;
    link_.stop();
    if (!record_.cgroup_tree.empty() && !os::remove_cgroup(record_.cgroup_tree))
      log::warn("control groups stay: something in them does not end", {{"tree", record_.cgroup_tree}});
    listener_.close();
    for (const auto& stream : streams_) stream->close();
    co_await gate_.close();
  }

  void stop() {
    if (stopping_) return;
    stopping_ = true;
    link_.send(proto::Leaving{});  // before the ends of the ranks: their jobs must not be restarted here
    attempts_.stop_all(kStopGraceS, "the agent is stopping");
  }

 private:
  // ---- towards the head -------------------------------------------------------------------------

  proto::Hello hello(const std::string& local_address) {
    if (config_.address.empty()) node_.address = local_address;
    proto::Hello hello;
    hello.role = "agent";
    hello.token = token();
    hello.pid = ::getpid();
    hello.node = node_;
    hello.node->versions["cgroup"] = record_.cgroup_tree.empty() ? "none" : "v2";
    if (!zygote_.torch_version().empty()) hello.node->versions["torch"] = zygote_.torch_version();
    hello.running = attempts_.running();
    for (const auto& key : link_.unreported_ends()) hello.running.push_back(key);
    return hello;
  }

  /// A head that is known by no token_file is one of this user, or of root: whoever answers in its place
  /// would command the agent.
  Result<Done> trusts(const net::Socket& socket) const {
    if (!token_.empty() || !net::is_local(head_) || net::leads_to_own_user(socket, head_)) return ok();
    return fail(Errc::kUnauthenticated, net::to_string(head_) + " is served by another user",
                "name the token of that head: token_file");
  }

  /// Without a token_file that of this user, which a head of the same user on this machine has made. Read
  /// anew for each connection: the head's first start may come after the agent's.
  std::string token() {
    if (!token_.empty() || !net::is_local(head_) || std::holds_alternative<net::UnixEndpoint>(head_))
      return token_;
    const auto path = os::own_token_path([](const char* name) { return std::getenv(name); });
    auto own = os::read_token_file(path);
    const std::string cause = own ? "" : own.error().message();
    if (cause != std::exchange(no_token_, cause) && !cause.empty())
      log::warn("no token is shown to the head", {{"cause", cause}});
    return own ? *own : "";
  }

  void head_says(proto::Message message) {
    if (const auto* port = std::get_if<proto::ReservePort>(&message)) return attempts_.reserve_port(*port);
    if (const auto* launch = std::get_if<proto::Launch>(&message)) return start_ranks(*launch);
    if (const auto* stop = std::get_if<proto::StopAttempt>(&message))
      return attempts_.stop(stop->job, stop->attempt, stop->grace_s, stop->reason);
    if (const auto* yield = std::get_if<proto::YieldAttempt>(&message)) return attempts_.yield(*yield);
    if (const auto* profile = std::get_if<proto::ProfileRanks>(&message)) return attempts_.profile(*profile);
    if (const auto* asked = std::get_if<proto::DebugRanks>(&message)) return attempts_.debug(*asked);
    if (const auto* told = std::get_if<proto::CheckpointValidated>(&message))
      return attempts_.validated(*told);
    if (const auto* pins = std::get_if<proto::CheckpointPins>(&message)) return attempts_.pin(*pins);
    if (const auto* read = std::get_if<proto::LogRead>(&message)) {
      asio::awaitable<void> reading = async_read_log(*read);
      gate_.spawn(std::move(reading));
      return;
    }
    log::warn("unexpected message from the head", {{"message", std::string(proto::message_name(message))}});
  }

  void start_ranks(const proto::Launch& launch) {
    log::info("launching", {{"job", to_string(launch.job)},
                            {"attempt", to_string(launch.attempt)},
                            {"ranks", std::to_string(launch.ranks.size())}});
    attempts_.launch(launch);
    if (stopping_) attempts_.stop_all(0, "the agent is stopping");
  }

  asio::awaitable<void> async_read_log(proto::LogRead read) {
    constexpr std::chrono::seconds kAnswerMax{10};  // beyond wait_s: as long as the head waits
    const auto path = proto::log_path(proto::rank_dir(config_.state_dir, read.key));
    const auto until = std::chrono::steady_clock::now() + to_milliseconds(std::clamp(read.wait_s, 0.0, 60.0));
    while (true) {
      auto data = read_log(path, read, attempts_.is_live(read.key));
      const bool news = !data.data.empty() || data.complete || !data.error.empty();
      // not read again before the head has taken what is on its way
      if (news && !ended_ && link_.is_behind()) {
        data = {};
        if (std::chrono::steady_clock::now() >= until + kAnswerMax) co_return;  // who asked has given up
        co_await async::async_sleep(kTick);
        continue;
      }
      if (news || ended_ || std::chrono::steady_clock::now() >= until) {
        link_.send(std::move(data));
        co_return;
      }
      co_await async::async_sleep(kTick);
    }
  }

  // ---- towards supervisors and workers ----------------------------------------------------------

  Result<SupervisorProcess*> supervisor(bool is_train_func) {
    auto& wanted = is_train_func ? zygote_ : keeper_;
    if (auto started = wanted.start(); !started) return started.error();
    return &wanted;
  }

  SupervisorProcess::Callbacks supervisor_callbacks(bool is_train_func) {
    return {[this, is_train_func](const os::ProcessIdentity& process) {
              (is_train_func ? record_.zygote : record_.keeper) = process;
              write_record();
            },
            [this, is_train_func] { supervisor_died(is_train_func); }};
  }

  void write_record() {
    if (auto written = write_agent_record(config_.state_dir, record_); !written)
      log::error("an agent that is started after this one will not find its supervisors",
                 {{"cause", written.error().message()}});
  }

  void quarantine(Quarantine::Entry entry) {
    const bool gpus = !entry.gpus.empty();
    quarantine_.add(std::move(entry));
    if (gpus) link_.send(quarantine_.health());
  }

  /// Takes up what an agent that was killed left running, with its lease.
  void recover() {
    std::set<proto::RankKey> known;
    for (const auto& attempt : find_attempts(config_.state_dir)) {
      attempts_.adopt(attempt);
      for (const auto& rank : attempt.launch.ranks)
        known.insert({attempt.launch.job, attempt.launch.attempt, rank.rank});
    }
    for (const auto& tree : std::set<std::string>{before_ ? before_->cgroup_tree : "", record_.cgroup_tree})
      clean_rank_groups(tree, known);
    for (const bool is_train_func : {true, false}) {
      auto& kept = is_train_func ? record_.zygote : record_.keeper;
      const auto old = !before_ ? std::nullopt : is_train_func ? before_->zygote : before_->keeper;
      auto& supervisor = is_train_func ? zygote_ : keeper_;
      const bool dials_here = before_ && before_->socket == config_.socket;
      if (old && dials_here && supervisor.adopt(*old)) {
        log::info("a supervisor of an earlier agent is taken up",
                  {{"role", supervisor.options().role}, {"pid", std::to_string(old->pid)}});
        kept = old;
        continue;
      }
      if (old && os::signal_group(*old, SIGKILL))
        log::warn("a supervisor of an earlier agent dials another socket and is ended",
                  {{"role", supervisor.options().role}});
      attempts_.supervisor_died(is_train_func, [](const proto::RankKey&) { return false; });
    }
    write_record();
    if (!attempts_.empty()) link_.resume(lease_file_.read());
  }

  void supervisor_died(bool is_train_func) {
    auto& dead = is_train_func ? zygote_ : keeper_;
    attempts_.supervisor_died(is_train_func, [&](const proto::RankKey& key) { return dead.holds(key); });
    if (const auto why = dead.why_unusable(); !why.empty())
      attempts_.supervisor_unusable(is_train_func, why,
                                    [&](const proto::RankKey& key) { return dead.withdraw(key); });
    // Not at once: a zygote that cannot start must not be started in a circle.
    (is_train_func ? zygote_restart_ : keeper_restart_) =
        std::chrono::steady_clock::now() + dead.restart_pause();
  }

  NodeFacts facts() const {
    NodeFacts facts;
    facts.node = node_.name;
    facts.address = node_.address;
    facts.interface = interface_of(node_.address);
    facts.inherited = own_environment();
    return facts;
  }

  asio::awaitable<void> async_accept() {
    while (!ended_) {
      auto socket = co_await listener_.async_accept();
      if (ended_) break;
      if (!socket) {
        log::warn("cannot accept a worker", {{"cause", socket.error().message()}});
        co_await async::async_sleep(100ms);
        continue;
      }
      asio::awaitable<void> session = async_session(proto::make_stream(std::move(*socket)));
      gate_.spawn(std::move(session));
    }
  }

  asio::awaitable<void> async_session(std::shared_ptr<net::FrameStream> stream) {
    streams_.insert(stream);
    auto first = co_await proto::async_read_message(stream, 10s);
    const auto* hello = first ? std::get_if<proto::Hello>(&*first) : nullptr;
    if (hello == nullptr) {
      refused_line().write("a local connection is refused",
                           {{"cause", first ? "expected hello" : first.error().message()}});
    } else if (!proto::speaks(hello->protocol_version)) {
      co_await async_refuse(
          stream, fail(Errc::kConflict,
                       hello->role + " speaks protocol version " + std::to_string(hello->protocol_version) +
                           ", this agent version " + std::to_string(proto::kProtocolVersion)));
    } else if (hello->role == "worker" && hello->rank) {
      co_await async_serve_worker(stream, *hello);
    } else if ((hello->role == "zygote" || hello->role == "keeper") &&
               same_secret(hello->token, record_.secret)) {
      co_await async_serve_supervisor(stream, *hello);
    } else {
      co_await async_refuse(stream,
                            fail(Errc::kUnauthenticated, "role \"" + hello->role + "\" with a wrong secret"));
    }
    stream->close();
    streams_.erase(stream);
  }

  asio::awaitable<void> async_refuse(std::shared_ptr<net::FrameStream> stream, Error error) {
    refused_line().write("a local connection is refused", {{"cause", error.message()}});
    proto::send(*stream, proto::Refused{std::string(to_string(error.code())), error.message()});
    co_await stream->async_flush(1s);
  }

  asio::awaitable<void> async_serve_worker(std::shared_ptr<net::FrameStream> stream, proto::Hello hello) {
    const auto key = *hello.rank;
    auto joined = attempts_.worker_joins(key, hello.token, stream, hello.protocol_version);
    if (!joined) {
      co_await async_refuse(stream, joined.error());
      co_return;
    }
    proto::accept_peer(*stream);
    const double lease_s = rank_lease_s();
    proto::send(*stream, proto::Welcome{lease_s, lease_s / 5});
    attempts_.on_worker_welcomed(key);
    while (true) {
      auto message = co_await proto::async_read_message(stream);
      if (!message) break;
      if (std::holds_alternative<proto::Heartbeat>(*message)) continue;
      // A rank speaks for itself only.
      if (proto::rank_of(*message) != key) {
        log::warn("a rank sent what is not its own",
                  {{"rank", to_string(key)}, {"message", std::string(proto::message_name(*message))}});
        break;
      }
      attempts_.on_worker_message(key, *stream, *message);
    }
    stream->close();
    attempts_.worker_left(key, *stream);
  }

  asio::awaitable<void> async_serve_supervisor(std::shared_ptr<net::FrameStream> stream, proto::Hello hello) {
    const bool is_train_func = hello.role == "zygote";
    auto& supervisor = is_train_func ? zygote_ : keeper_;
    if (hello.pid != supervisor.pid()) co_return;  // the last words of one that died meanwhile
    proto::accept_peer(*stream);
    supervisor.await_hello();
    attempts_.supervisor_joined(is_train_func, hello.running,
                                [&supervisor](const proto::RankKey& key) { return supervisor.holds(key); });
    supervisor.attach(stream, hello, rank_lease_s());
    while (true) {
      auto message = co_await proto::async_read_message(stream);
      if (!message) break;
      if (const auto* result = std::get_if<proto::SpawnResult>(&*message))
        attempts_.spawned(*result);
      else if (const auto* end = std::get_if<proto::SupervisedEnd>(&*message))
        attempts_.ended(*end);
    }
    supervisor.detach(*stream);
  }

  asio::awaitable<void> async_tick() {
    auto next_beat = std::chrono::steady_clock::now();
    while (!ended_) {
      co_await async::async_sleep(kTick);
      const auto now = std::chrono::steady_clock::now();
      link_.tick();
      attempts_.tick();
      if (now >= next_beat) {
        const double lease_s = rank_lease_s();
        // less and less while the head is away: when it is back, that is told in time
        next_beat = now + to_milliseconds(lease_s / 5);
        attempts_.heartbeat_workers(lease_s);
        zygote_.heartbeat(lease_s);
        keeper_.heartbeat(lease_s);
      }
      if (!quarantine_.empty() && now >= next_look_) {
        next_look_ = now + kQuarantineLook;
        if (quarantine_.release()) link_.send(quarantine_.health());
      }
      if (now >= next_clock_look_) {
        next_clock_look_ = now + 1s;
        look_at_clock();
      }
      if (clock_.doubt().empty()) old_jobs_.step(now, clock_.now_ms(now));
      log::drain();
      zygote_.tick();
      keeper_.tick();
      restart_if_due(zygote_, zygote_restart_, now);
      restart_if_due(keeper_, keeper_restart_, now);
    }
  }

  /// Folders are removed by their age: not by a clock that jumps.
  void look_at_clock() {
    const auto reading = os::ClockReading::now();
    clock_.look(reading);
    const auto doubt = clock_.doubt();
    if (!doubt.empty() && !clock_doubted_)
      log::warn("the machine's clock cannot be trusted: no folder of an old job is removed",
                {{"cause", doubt}});
    if (doubt.empty() && clock_doubted_) log::warn("the machine's clock is trusted again");
    clock_doubted_ = !doubt.empty();
    if (reading.steady < next_clock_record_) return;
    next_clock_record_ = reading.steady + 60s;
    if (!os::write_clock_record(clock_path_, clock_.record(reading)))
      log::warn("the time cannot be written down", {{"file", clock_path_}});
  }

  /// For how long ranks and their supervisors may live on without this agent.
  [[nodiscard]] double rank_lease_s() const {
    return static_cast<double>(link_.rank_lease(to_milliseconds(config_.worker_lease_s)).count()) / 1000;
  }

  void restart_if_due(SupervisorProcess& supervisor,
                      std::optional<std::chrono::steady_clock::time_point>& due,
                      std::chrono::steady_clock::time_point now) {
    if (!due || now < *due || stopping_) return;
    due.reset();
    if (auto started = supervisor.start(); !started)
      log::error("a supervisor cannot be started again",
                 {{"role", supervisor.options().role}, {"cause", started.error().message()}});
  }

  asio::any_io_executor executor_;
  proto::AgentConfig config_;
  std::string token_;  ///< of token_file
  net::Endpoint head_;
  std::string no_token_;  ///< why there was none the last time
  StateLock lock_;
  net::Listener listener_;
  async::Gate gate_;
  proto::NodeInfo node_;
  LeaseFile lease_file_;
  std::optional<AgentRecord> before_;  ///< of the agent that was here before
  Quarantine quarantine_;
  AgentRecord record_;
  SupervisorProcess zygote_, keeper_;
  Attempts attempts_;
  HeadLink link_;
  OldJobs old_jobs_;
  std::string clock_path_;
  os::TrustedClock clock_;
  bool clock_doubted_ = false;  ///< and it was said
  std::chrono::steady_clock::time_point next_clock_look_{}, next_clock_record_{};
  std::set<std::shared_ptr<net::FrameStream>> streams_;
  std::optional<std::chrono::steady_clock::time_point> zygote_restart_, keeper_restart_;
  std::chrono::steady_clock::time_point next_look_;
  bool stopping_ = false, ended_ = false;
};

Result<std::unique_ptr<Agent>> Agent::open(asio::any_io_executor executor, proto::AgentConfig config,
                                           Survival survival) {
  std::string token;
  if (!config.token_file.empty()) {
    auto text = os::read_token_file(config.token_file);
    if (!text) return text.error();
    token = std::move(*text);
  }
  auto head = net::parse_endpoint(config.head);
  if (!head) return head.error().in("head");
  if (auto made = os::make_dirs(config.state_dir, 0700); !made) return made.error().in("state_dir");
  auto lock = StateLock::take(config.state_dir);
  if (!lock) return lock.error();
  if (config.socket.empty()) config.socket = config.state_dir + "/agent.sock";
  auto local = net::parse_endpoint("unix:" + config.socket);
  if (!local) return local.error().in("socket");
  auto listener = net::Listener::open(executor, *local);
  if (!listener) return listener.error().in("socket");
  return std::unique_ptr<Agent>(
      new Agent(std::make_unique<Impl>(executor, std::move(config), survival, std::move(token),
                                       std::move(*head), std::move(*lock), std::move(*listener))));
}

Agent::Agent(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Agent::~Agent() = default;
asio::awaitable<void> Agent::async_run() { return impl_->async_run(); }
void Agent::stop() { impl_->stop(); }

}  // namespace rtrain::agent
