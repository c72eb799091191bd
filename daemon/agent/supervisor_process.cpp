#include "daemon/agent/supervisor_process.h"

#include "common/log/log.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rtrain::agent {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

constexpr std::string_view kSecret = "RTRAIN_SECRET=", kEndsWith = "RTRAIN_ENDS_WITH=";
/// As long as a rank waits for it (attempts.cpp): LibTorch from a cold disk takes seconds.
constexpr auto kHelloLimit = 60s;

bool is_told_to_supervisors(std::string_view variable) {
  return variable.starts_with(kSecret) || variable.starts_with(kEndsWith);
}

/// A new session (a Ctrl-C at the terminal is not for it), none of our file descriptors, default signals.
Result<pid_t> spawn(const std::vector<std::string>& argv, const std::string& secret, bool ends_with_agent) {
  std::vector<char*> arguments, environment;
  for (const auto& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  std::string secret_variable = std::string(kSecret) + secret;
  // Of a name that stands twice the first counts, and this agent may itself run below a rank, with that
  // rank's secret.
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!is_told_to_supervisors(*variable)) environment.push_back(*variable);
  environment.push_back(secret_variable.data());
  std::string agent_variable = std::string(kEndsWith) + std::to_string(::getpid());
  if (ends_with_agent) environment.push_back(agent_variable.data());
  environment.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, 2, 1);
  posix_spawn_file_actions_addclosefrom_np(&files, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, arguments[0], &files, &attributes, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return fail_errno("start " + argv[0], error);
  return pid;
}

int pidfd_of(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

bool spawns(const proto::Message& message, const proto::RankKey& key) {
  const auto* spawning = std::get_if<proto::SpawnRank>(&message);
  return spawning != nullptr && spawning->key == key;
}

}  // namespace

SupervisorProcess::SupervisorProcess(asio::any_io_executor executor, Options options, Callbacks callbacks)
    : executor_(executor),
      options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      gate_(executor),
      pidfd_(executor) {}

Result<Done> SupervisorProcess::start() {
  if (running()) return ok();
  if (::access(options_.program.c_str(), X_OK) != 0)
    return fail(Errc::kNotFound, options_.program + " is not an executable program",
                "build it, or name it in the agent's configuration (worker_program, keeper_program)");
  std::vector<std::string> argv{options_.program};
  if (options_.role == "zygote") argv.emplace_back("--zygote");
  argv.insert(argv.end(), {"--socket", options_.socket});
  auto pid = spawn(argv, options_.secret, options_.ends_with_agent);
  if (!pid) return pid.error();
  watch(pidfd_of(*pid), *pid);
  if (const auto process = os::identify(*pid)) callbacks_.started(*process);
  return ok();
}

bool SupervisorProcess::adopt(const os::ProcessIdentity& process) {
  const int pidfd = pidfd_of(process.pid);
  if (pidfd < 0) return false;
  // asked after the descriptor was taken: that is of this process now, or of none
  if (os::fate_of(process) != os::ProcessFate::kRuns) {
    ::close(pidfd);
    return false;
  }
  watch(pidfd, process.pid);
  return true;
}

void SupervisorProcess::watch(int pidfd, pid_t pid) {
  pid_ = pid;
  since_ = std::chrono::steady_clock::now();
  spoke_ = false;
  pidfd_.assign(pidfd);
  asio::awaitable<void> watching = async_watch();
  gate_.spawn(std::move(watching));
}

void SupervisorProcess::signal(int number) {
  if (running()) ::syscall(SYS_pidfd_send_signal, pidfd_.native_handle(), number, nullptr, 0);
}

asio::awaitable<void> SupervisorProcess::async_watch() {
  co_await pidfd_.async_wait(asio::posix::stream_descriptor::wait_read, asio::as_tuple(asio::use_awaitable));
  int status = 0;
  // one that an earlier agent started is reaped by init
  const bool ours = ::waitpid(pid_, &status, 0) == pid_;
  const auto pid = pid_;
  pid_ = 0;
  boost::system::error_code ignored;
  pidfd_.close(ignored);
  stream_.reset();  // its end may be read later than this: what is sent from now on is for the next process
  if (stopping_) co_return;
  last_end_ = !ours                 ? "unknown"
              : WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                    : "exit code " + std::to_string(WEXITSTATUS(status));
  silent_deaths_ = spoke_ ? 0 : silent_deaths_ + 1;
  log::warn("a supervisor died", {{"role", options_.role},
                                  {"pid", std::to_string(pid)},
                                  {"status", last_end_},
                                  {"spoke", spoke_ ? "yes" : "no"}});
  callbacks_.died();
}

void SupervisorProcess::attach(std::shared_ptr<net::FrameStream> stream, const proto::Hello& hello,
                               double lease_s) {
  stream_ = std::move(stream);
  spoke_ = true;
  silent_deaths_ = 0;
  torch_version_ = hello.torch_version;
  proto::send(*stream_, proto::Welcome{lease_s, lease_s / 5});
  for (; !waiting_.empty(); waiting_.pop_front()) proto::send(*stream_, waiting_.front());
}

void SupervisorProcess::detach(const net::FrameStream& stream) {
  if (stream_.get() == &stream) stream_.reset();
}

void SupervisorProcess::send(proto::Message message) {
  if (stream_)
    proto::send(*stream_, message);
  else
    waiting_.push_back(std::move(message));
}

void SupervisorProcess::tick() {
  if (!running() || spoke_ || stopping_ || std::chrono::steady_clock::now() - since_ < kHelloLimit) return;
  log::error("a supervisor runs but does not dial its agent, and is killed",
             {{"role", options_.role}, {"pid", std::to_string(pid_)}});
  since_ = std::chrono::steady_clock::now();
  signal(SIGKILL);
}

std::chrono::seconds SupervisorProcess::restart_pause(int silent_deaths) {
  return std::chrono::seconds(std::min(60, 1 << std::clamp(silent_deaths - 1, 0, 6)));
}

std::string SupervisorProcess::why_unusable() const {
  if (silent_deaths_ < kSilentDeathsMax) return {};
  return "the " + options_.role + " of this node ended " + std::to_string(silent_deaths_) +
         " times in a row before it had spoken to its agent (the last time with " + last_end_ +
         "): " + options_.program + "; its own words are in the agent's log";
}

void SupervisorProcess::heartbeat(double lease_s) {
  if (stream_) proto::send(*stream_, proto::Heartbeat{lease_s});
}

bool SupervisorProcess::withdraw(const proto::RankKey& key) {
  return std::erase_if(waiting_, [&](const proto::Message& message) { return spawns(message, key); }) > 0;
}

bool SupervisorProcess::holds(const proto::RankKey& key) const {
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [&](const proto::Message& message) { return spawns(message, key); });
}

asio::awaitable<void> SupervisorProcess::async_stop() {
  stopping_ = true;
  signal(SIGTERM);
  for (int waited = 0; running() && waited < 3000; waited += 5) co_await async::async_sleep(5ms);
  signal(SIGKILL);
  co_await gate_.close();
}

}  // namespace rtrain::agent
