#include "cli/limited_child.h"

#include "common/os/process.h"
#include "common/os/startup.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
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

volatile std::sig_atomic_t signal_seen = 0;  // 0: none

/// Holds back the signals that end this process, but for poll(), so that it ends its child's processes first;
/// the destructor lets them go on.
class HeldSignals {
 public:
  HeldSignals() {
    struct sigaction action {};
    action.sa_handler = [](int signal) { signal_seen = signal; };
    sigset_t held;
    ::sigemptyset(&held);
    signal_seen = 0;
    for (const int signal : os::not_ignored({SIGINT, SIGTERM, SIGHUP, SIGPIPE})) ::sigaddset(&held, signal);
    ::sigprocmask(SIG_BLOCK, &held, &before_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
      if (::sigismember(&held, signal) != 1) continue;
      old_.emplace_back(signal, action);
      ::sigaction(signal, &action, &old_.back().second);
    }
  }
  ~HeldSignals() {
    restore();
    if (signal_seen != 0) ::raise(signal_seen);
  }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  void restore() const {
    for (const auto& [signal, action] : old_) ::sigaction(signal, &action, nullptr);
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  /// poll(2) of one descriptor (-1: none), for at most an hour, and a moment for signals.
  void poll(int fd, milliseconds limit) const {
    const auto wait_ms = std::clamp<std::int64_t>(limit.count(), 0, 3'600'000);
    const timespec time{wait_ms / 1000, wait_ms % 1000 * 1'000'000};
    pollfd wait{fd, POLLIN, 0};
    ::ppoll(&wait, 1, &time, &before_);
  }

 private:
  sigset_t before_{};
  std::vector<std::pair<int, struct sigaction>> old_;
};

/// The group, and those below it that have made groups of their own, as timeout(1) does. All are found before
/// the first is killed: its children would be handed to another parent.
void kill_below(pid_t pid) {
  std::vector<pid_t> found{pid};
  for (std::size_t i = 0; i < found.size(); ++i)
    for (const pid_t child : os::children_of(found[i])) found.push_back(child);
  ::kill(-pid, SIGKILL);
  for (const pid_t each : found) ::kill(each, SIGKILL);
}

/// Whether the child has ended within the time. It is not reaped: its group keeps its number.
bool has_ended(pid_t pid, Clock::time_point until, const HeldSignals& signals) {
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno != EINTR)
      return true;
    if (info.si_pid == pid) return true;
    if (Clock::now() >= until || signal_seen != 0) return false;
    signals.poll(-1, milliseconds(2));
  }
}

/// Hands the lines on until the pipe is closed.
How read_lines(int fd, Clock::time_point until, const HeldSignals& signals,
               const std::function<void(const std::string&)>& told) {
  std::string text;
  for (char buffer[4096];;) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    if (left.count() <= 0) return How::kLate;
    signals.poll(fd, left);
    if (signal_seen != 0) return How::kLate;
    const auto count = ::read(fd, buffer, sizeof buffer);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
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
  } catch (const std::bad_alloc&) {
    (void)!::write(STDOUT_FILENO, kNoMemory, std::strlen(kNoMemory));
    (void)!::write(STDOUT_FILENO, "\n", 1);
    ::_exit(1);
  } catch (...) {
    ::_exit(1);
  }
  ::_exit(0);
}

ChildEnd not_started(int error) {
  ChildEnd end;
  end.how = How::kNotStarted;
  end.problem = std::string("cannot be started: ") + std::strerror(error);
  return end;
}

}  // namespace

void tell_parent(const std::string& line) {
  const auto text = line + "\n";
  for (std::size_t done = 0; done < text.size();) {
    const auto count = ::write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) ::_exit(1);
    done += static_cast<std::size_t>(count);
  }
}

ChildEnd run_limited(const std::function<void()>& work, milliseconds limit,
                     const std::function<void(const std::string&)>& told) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return not_started(errno);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  const HeldSignals signals;
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid == 0) {
    signals.restore();
    become_child(work, ends[1], parent);
  }
  const int error = errno;
  if (pid > 0) ::setpgid(pid, pid);
  ::close(ends[1]);
  if (pid < 0) {
    ::close(ends[0]);
    return not_started(error);
  }
  const auto until = Clock::now() + limit;
  ChildEnd end;
  try {
    end.how = read_lines(ends[0], until, signals, told);
  } catch (...) {
    kill_below(pid);
    ::close(ends[0]);
    throw;
  }
  ::close(ends[0]);
  if (end.how == How::kExited && !has_ended(pid, until, signals)) end.how = How::kLate;
  kill_below(pid);  // what it has left running, too
  int status = 0;
  if (has_ended(pid, Clock::now() + std::chrono::seconds(1), signals)) ::waitpid(pid, &status, WNOHANG);
  if (end.how == How::kLate) {
    end.problem = "did not end within " + std::to_string(limit.count() / 1000) + " s";
  } else if (end.how == How::kTooMuch) {
    end.problem = "wrote a line of more than 1 MiB";
  } else if (WIFSIGNALED(status)) {
    end.how = How::kKilled;
    end.signal = WTERMSIG(status);
    const char* name = ::sigabbrev_np(end.signal);
    end.problem = "was killed by " +
                  (name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(end.signal));
  } else if (end.exit_code = WEXITSTATUS(status); end.exit_code != 0) {
    end.problem = "ended with exit code " + std::to_string(end.exit_code);
  }
  return end;
}

}  // namespace rtrain::cli
