#include "worker/supervision/fork_rank.h"
#include "worker/supervision/start_error.h"

#include "common/os/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fork_rank_test {

using namespace rtrain;
using namespace rtrain::supervision;

namespace {

struct Outcome {
  std::string trouble;
  int status = 0;
};

/// Forks, waits for the end of the set-up and of the process.
Outcome run(const proto::SpawnRank& spawn, const ChildMain& child) {
  const auto forked = fork_rank(spawn, true, child);
  REQUIRE(forked.has_value());
  Outcome outcome;
  while (!read_setup(forked->setup, outcome.trouble)) {
    pollfd wait{forked->setup, POLLIN, 0};
    ::poll(&wait, 1, -1);
  }
  ::close(forked->setup);
  ::waitpid(forked->pid, &outcome.status, 0);
  return outcome;
}

proto::SpawnRank request(const std::string& folder) {
  proto::SpawnRank spawn;
  spawn.key = {JobId(1), Attempt(1), 0};
  spawn.rank_dir = spawn.working_dir = folder;
  spawn.env = {{"A", "1"}, {"EMPTY", ""}};
  return spawn;
}

std::string log_of(const std::string& folder) { return os::read_file(folder + "/log").value(); }

}  // namespace

TEST_CASE("fork_rank: what the child returns is its exit code, and its output is in the log") {
  const test::TempDir folder;
  std::ofstream(folder / "log") << "before\n";
  const auto outcome = run(request(folder.path().string()), [](const proto::SpawnRank&) {
    std::cout << "out\n" << std::flush;
    std::cerr << "err\n";
    std::printf("buffered");  // flushed at the end, as exit() does
    return 42;
  });
  CHECK(outcome.trouble.empty());
  REQUIRE(WIFEXITED(outcome.status));
  CHECK(WEXITSTATUS(outcome.status) == 42);
  CHECK(log_of(folder.path().string()) == "before\nout\nerr\nbuffered");
}

TEST_CASE(
    "fork_rank: the child has its own session, folder, environment and signals, and no file of its parent") {
  const test::TempDir folder;
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &blocked, &before);
  const auto old_handler = std::signal(SIGUSR1, SIG_IGN);
  const auto outcome = run(request(folder.path().string()), [&](const proto::SpawnRank&) {
    std::cout << (::getsid(0) == ::getpid()) << (::getpgid(0) == ::getpid()) << " ";
    for (char** variable = environ; *variable != nullptr; ++variable) std::cout << *variable << " ";
    sigset_t mask;
    ::sigprocmask(SIG_BLOCK, nullptr, &mask);
    std::cout << sigismember(&mask, SIGTERM) << (std::signal(SIGUSR1, SIG_DFL) == SIG_DFL) << " ";
    std::cout << std::filesystem::read_symlink("/proc/self/fd/0").string() << " "
              << (std::filesystem::current_path() == std::filesystem::canonical(folder.path())) << " ";
    int open_files = 0;
    for (int fd = 3; fd < 1024; ++fd) open_files += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    std::cout << open_files << std::endl;
    return 0;
  });
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  std::signal(SIGUSR1, old_handler);
  CHECK(outcome.status == 0);
  CHECK(log_of(folder.path().string()) == "11 A=1 EMPTY= 01 /dev/null 1 0\n");
}

TEST_CASE("fork_rank: what stands in the way is told with its place, and the child does not run") {
  const test::TempDir folder;
  const auto never = [](const proto::SpawnRank&) { return 0; };
  auto nowhere = request(folder.path().string());
  nowhere.working_dir = "/nonexistent/folder";
  auto outcome = run(nowhere, never);
  CHECK(start_error_of(outcome.trouble).kind == "exec");
  CHECK(start_error_of(outcome.trouble).message ==
        "enter working_dir /nonexistent/folder: No such file or directory");
  CHECK(WEXITSTATUS(outcome.status) == 127);
  auto no_log = request(folder.path().string());
  no_log.rank_dir = "/nonexistent/rank";
  CHECK(start_error_of(run(no_log, never).trouble).kind == "spawn");  // the agent's folder
  CHECK(start_error_of(run(no_log, never).trouble).message ==
        "open /nonexistent/rank/log: No such file or directory");
  auto no_name = request(folder.path().string());
  no_name.env = {{"", "1"}};
  CHECK(start_error_of(run(no_name, never).trouble).kind == "exec");
}

}  // namespace fork_rank_test
