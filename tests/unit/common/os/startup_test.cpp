#include "common/os/startup.h"

#include "tests/support/catch.h"

#include <csignal>
#include <functional>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace startup_test {

using namespace rtrain;

namespace {

/// What `check` says in a process of its own.
bool in_child(const std::function<bool()>& check) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(check() ? 0 : 1);
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool is_dev_null(int fd) {
  struct stat here {
  }, null{};
  return ::fstat(fd, &here) == 0 && ::stat("/dev/null", &null) == 0 && here.st_rdev == null.st_rdev &&
         S_ISCHR(here.st_mode);
}

}  // namespace

TEST_CASE("startup: closed standard streams are opened on /dev/null, the others stay") {
  CHECK(in_child([] {
    ::close(STDIN_FILENO);
    ::close(STDERR_FILENO);
    struct stat before {
    }, after{};
    ::fstat(STDOUT_FILENO, &before);
    os::settle_process();
    ::fstat(STDOUT_FILENO, &after);
    const int next = ::open("/", O_RDONLY);
    return is_dev_null(STDIN_FILENO) && is_dev_null(STDERR_FILENO) && before.st_ino == after.st_ino &&
           next > STDERR_FILENO;
  }));
}

TEST_CASE("startup: an ignored SIGCHLD does not keep a program from waiting for its children") {
  CHECK(in_child([] {
    std::signal(SIGCHLD, SIG_IGN);
    os::settle_process();
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    return ::waitpid(child, nullptr, 0) == child;
  }));
}

TEST_CASE("startup: signals that were ignored at the start are left out", "[F24]") {
  CHECK(in_child([] {
    std::signal(SIGHUP, SIG_IGN);
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    return os::not_ignored({SIGINT, SIGTERM, SIGHUP}) == std::vector<int>{SIGINT, SIGTERM};
  }));
}

}  // namespace startup_test
