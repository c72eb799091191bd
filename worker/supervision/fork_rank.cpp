#include "worker/supervision/fork_rank.h"

#include "common/os/cgroup.h"
#include "proto/record/rank_files.h"
#include "worker/supervision/start_error.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rtrain::supervision {
namespace {

/// Tells the parent through the pipe and ends the child. `kind`: "spawn", the node's fault, unless the job
/// named what is not there.
[[noreturn]] void give_up(int pipe_fd, const std::string& what, std::string_view kind = "spawn") {
  const std::string text = to_text({std::string(kind), what + ": " + std::strerror(errno)});
  (void)!::write(pipe_fd, text.data(), text.size());
  ::_exit(127);
}

void default_signals() {
  for (int signal = 1; signal < NSIG; ++signal) std::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// setenv() looks through all that is there, each time. The array lives as long as the process.
void set_environment(const std::vector<std::pair<std::string, std::string>>& variables) {
  auto* const lines = new std::vector<std::string>;
  auto* const pointers = new std::vector<char*>;
  lines->reserve(variables.size());
  pointers->reserve(variables.size() + 1);
  for (const auto& [name, value] : variables)
    pointers->push_back(lines->emplace_back(name + "=" + value).data());
  pointers->push_back(nullptr);
  environ = pointers->data();
}

/// Everything of the rank that is not its program. Only the forking thread exists here (the supervisor has
/// one), so ordinary calls are safe.
void set_up_child(const proto::SpawnRank& spawn, bool dies_with_parent, pid_t parent, int pipe_fd) {
  if (!spawn.cgroup.empty()) {
    const auto procs = os::procs_of_cgroup(spawn.cgroup);
    errno = os::join_cgroup(procs.c_str());
    if (errno != 0) give_up(pipe_fd, "join " + procs);
  }
  // the supervisor's connection must not stay open in a child that is held up here
  const auto pipe = static_cast<unsigned>(pipe_fd);
  if (pipe > 3) ::syscall(SYS_close_range, 3u, pipe - 1, 0u);
  ::syscall(SYS_close_range, pipe + 1, ~0u, 0u);
  if (::setsid() < 0) give_up(pipe_fd, "setsid");
  if (dies_with_parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);  // the parent died before the line above
  }
  default_signals();
  const std::string log = proto::log_path(spawn.rank_dir);
  const int log_fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) give_up(pipe_fd, "open " + log);
  const int null_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null_fd < 0) give_up(pipe_fd, "open /dev/null");
  if (::dup2(null_fd, 0) < 0 || ::dup2(log_fd, 1) < 0 || ::dup2(log_fd, 2) < 0)
    give_up(pipe_fd, "redirect to " + log);
  for (const auto& [name, value] : spawn.env)
    if (name.empty() || name.find('=') != std::string::npos) {
      errno = EINVAL;
      give_up(pipe_fd, "set the variable \"" + name + "\"", kind_of_start_error(errno));
    }
  set_environment(spawn.env);
  if (::chdir(spawn.working_dir.c_str()) != 0)
    give_up(pipe_fd, "enter working_dir " + spawn.working_dir, kind_of_start_error(errno));
}

}  // namespace

Result<ForkedRank> fork_rank(const proto::SpawnRank& spawn, bool dies_with_parent, const ChildMain& child) {
  if (!spawn.cgroup.empty())
    if (auto made = os::make_cgroup(spawn.cgroup); !made) return made.error();
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  const pid_t parent = ::getpid();
  std::fflush(nullptr);  // or the child would print it again
  const pid_t pid = ::fork();
  if (pid < 0) {
    const int why = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    return fail_errno("fork", why);
  }
  if (pid == 0) {
    set_up_child(spawn, dies_with_parent, parent, ends[1]);
    ::syscall(SYS_close_range, 3u, ~0u, 0u);  // the pipe too: its end tells the parent that all is well
    const int code = child(spawn);
    std::fflush(nullptr);
    ::_exit(code);
  }
  ::close(ends[1]);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return ForkedRank{pid, ends[0]};
}

bool read_setup(int setup, std::string& trouble) {
  std::array<char, 512> buffer{};
  while (true) {
    const auto count = ::read(setup, buffer.data(), buffer.size());
    if (count > 0)
      trouble.append(buffer.data(), static_cast<std::size_t>(count));
    else if (count == 0 || (errno != EINTR && errno != EAGAIN))
      return true;
    else if (errno == EAGAIN)
      return false;
  }
}

}  // namespace rtrain::supervision
