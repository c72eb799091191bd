#include "common/os/process.h"

#include "tests/support/catch.h"

#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

namespace process_test {

using namespace rtrain;

namespace {

/// A child that waits for a signal, leader of its own group.
pid_t sleeper() {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setpgid(0, 0);
    for (;;) ::pause();
  }
  ::setpgid(pid, pid);
  return pid;
}

void end(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

}  // namespace

TEST_CASE("process: one that runs is itself, one that has ended is gone") {
  const auto pid = sleeper();
  const auto identity = os::identify(pid);
  REQUIRE(identity);
  CHECK(identity->boot == os::boot_id());
  CHECK(identity->start_ticks > 0);
  CHECK(os::fate_of(*identity) == os::ProcessFate::kRuns);
  ::kill(pid, SIGKILL);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
  CHECK(os::fate_of(*identity) == os::ProcessFate::kGone);  // not reaped yet
  end(pid);
  CHECK(os::fate_of(*identity) == os::ProcessFate::kGone);
  CHECK_FALSE(os::identify(pid));
}

TEST_CASE("process: another start or another boot is another process, which is never signalled") {
  const auto pid = sleeper();
  auto identity = os::identify(pid).value();
  auto earlier = identity;
  earlier.start_ticks -= 1;
  auto other_boot = identity;
  other_boot.boot = "00000000-0000-0000-0000-000000000000";
  for (const auto& stale : {earlier, other_boot}) {
    CHECK(os::fate_of(stale) == os::ProcessFate::kReplaced);
    CHECK_FALSE(os::signal_group(stale, SIGKILL));
  }
  CHECK(os::fate_of(identity) == os::ProcessFate::kRuns);
  CHECK(os::signal_group(identity, SIGKILL));
  int status = 0;
  ::waitpid(pid, &status, 0);
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK_FALSE(os::signal_group(identity, SIGKILL));
}

TEST_CASE("process: the rest of a group is found when its leader has ended") {
  const auto leader = sleeper();
  const auto identity = os::identify(leader).value();
  const pid_t member = ::fork();
  if (member == 0)
    for (;;) ::pause();
  ::setpgid(member, leader);
  end(leader);
  CHECK(os::signal_group(identity, SIGKILL));
  int status = 0;
  ::waitpid(member, &status, 0);
  CHECK(WTERMSIG(status) == SIGKILL);
}

TEST_CASE("process: no process") {
  CHECK_FALSE(os::identify(0));
  CHECK_FALSE(os::identify(-1));
  CHECK_FALSE(os::signal_group({}, SIGKILL));
}

}  // namespace process_test
