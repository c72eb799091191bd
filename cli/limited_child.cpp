#include "cli/limited_child.h"

#include "common/os/startup.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rtrain::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using How = ChildEnd::How;

constexpr std::size_t kLineBytesMax = std::size_t{1} << 20;

volatile std::sig_atomic_t group_alive = 0;  // for the handler; 0: none

void end_with_group(int signal) {
  if (group_alive > 0) ::kill(-static_cast<pid_t>(group_alive), SIGKILL);
  std::signal(signal, SIG_DFL);
  ::raise(signal);  // blocked here: it ends the process on return
}

/// end_with_group() for the signals that end this process, and its own handlers again afterwards.
class EndWithGroup {
 public:
  EndWithGroup() {
    struct sigaction action {};
    action.sa_handler = end_with_group;
    for (const int signal : os::not_ignored({SIGINT, SIGTERM, SIGHUP, SIGPIPE})) {
      old_.emplace_back(signal, action);
      ::sigaction(signal, &action, &old_.back().second);
    }
  }
  ~EndWithGroup() {
    group_alive = 0;
    restore();
  }
  EndWithGroup(const EndWithGroup&) = delete;
  EndWithGroup& operator=(const EndWithGroup&) = delete;
  void restore() const {
    for (const auto& [signal, action] : old_) ::sigaction(signal, &action, nullptr);
  }

 private:
  std::vector<std::pair<int, struct sigaction>> old_;
};

/// Whether the child has ended within the time. It is not reaped: its group keeps its number.
bool has_ended(pid_t pid, Clock::time_point until) {
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno != EINTR)
      return true;
    if (info.si_pid == pid) return true;
    if (Clock::now() >= until) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
}

/// Hands the lines on until the pipe is closed.
How read_lines(int fd, Clock::time_point until, const std::function<void(const std::string&)>& told) {
  std::string text;
  for (char buffer[4096];;) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    if (left.count() <= 0) return How::kLate;
    pollfd wait{fd, POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 3'600'000))) <= 0) continue;
    const auto count = ::read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return How::kExited;
    text.append(buffer, static_cast<std::size_t>(count));
    for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
      told(text.substr(0, end));
      text.erase(0, end + 1);
    }
    if (text.size() > kLineBytesMax) return How::kTooMuch;
  }
}

[[noreturn]] void become_child(const std::function<void()>& work, int out, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // it ended before the line above
  ::dup2(out, STDOUT_FILENO);
  try {
    work();
  } catch (...) {
    ::_exit(1);
  }
  ::_exit(0);
}

}  // namespace

ChildEnd run_limited(const std::function<void()>& work, milliseconds limit,
                     const std::function<void(const std::string&)>& told) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {How::kNotStarted, 0, std::strerror(errno)};
  const EndWithGroup handlers;
  // A signal between the fork and the note of the child's number would miss it.
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid == 0) {
    handlers.restore();
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    become_child(work, ends[1], parent);
  }
  const int error = errno;
  if (pid > 0) {
    ::setpgid(pid, pid);
    group_alive = pid;
  }
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::close(ends[1]);
  if (pid < 0) {
    ::close(ends[0]);
    return {How::kNotStarted, 0, std::string("no process for it: ") + std::strerror(error)};
  }
  const auto until = Clock::now() + limit;
  ChildEnd end;
  try {
    end.how = read_lines(ends[0], until, told);
  } catch (...) {
    ::kill(-pid, SIGKILL);
    ::close(ends[0]);
    throw;
  }
  ::close(ends[0]);
  if (end.how == How::kExited && !has_ended(pid, until)) end.how = How::kLate;
  ::kill(-pid, SIGKILL);  // what it has left running, too
  int status = 0;
  if (has_ended(pid, Clock::now() + std::chrono::seconds(1))) ::waitpid(pid, &status, WNOHANG);
  if (end.how == How::kLate) {
    end.problem = "did not end within " + std::to_string(limit.count() / 1000) + " s";
  } else if (end.how == How::kTooMuch) {
    end.problem = "wrote a line of more than 1 MiB";
  } else if (WIFSIGNALED(status)) {
    const char* name = ::sigabbrev_np(WTERMSIG(status));
    end.how = How::kKilled;
    end.problem = "was killed by " + (name != nullptr ? "SIG" + std::string(name)
                                                      : "signal " + std::to_string(WTERMSIG(status)));
  } else if (end.exit_code = WEXITSTATUS(status); end.exit_code != 0) {
    end.problem = "ended with exit code " + std::to_string(end.exit_code);
  }
  return end;
}

}  // namespace rtrain::cli
