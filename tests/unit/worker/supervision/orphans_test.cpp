#include "worker/supervision/orphans.h"

#include "common/os/process.h"
#include "tests/support/catch.h"

#include <array>
#include <csignal>
#include <vector>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace orphans_test {

using namespace rtrain;
using namespace rtrain::supervision;

namespace {

/// A process of which this one is the parent after its own ends, as a subreaper is.
class Family {
 public:
  Family() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }
  ~Family() {
    for (const pid_t pid : made_) ::kill(pid, SIGKILL);
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
  }
  /// A rank that waits. With `below`, of a child in a session of its own, whose number is put there.
  RankProcess rank(const std::string& dir, pid_t* below = nullptr) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setsid();
      pid_t child = below != nullptr ? ::fork() : 1;
      if (child == 0) {
        ::setsid();
        child = ::getpid();
      } else if (below != nullptr) {
        for (;;) ::pause();
      }
      (void)!::write(ends[1], &child, sizeof(child));
      for (;;) ::pause();
    }
    made_.push_back(pid);
    pid_t child = 0;
    REQUIRE(::read(ends[0], &child, sizeof(child)) == sizeof(child));
    if (below != nullptr) made_.push_back(*below = child);
    ::close(ends[0]);
    ::close(ends[1]);
    return {pid, os::stat_of(pid)->start_ticks, dir};
  }
  static void end(const RankProcess& rank) {
    ::kill(rank.pid, SIGKILL);
    ::waitpid(rank.pid, nullptr, 0);
  }
  /// True when it was killed; it is reaped.
  static bool was_killed(pid_t pid) {
    int status = 0;
    return ::waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

 private:
  std::vector<pid_t> made_;
};

bool lives(pid_t pid) {
  const auto stat = os::stat_of(pid);
  return stat && stat->state != 'Z';
}

}  // namespace

TEST_CASE("orphans: what was seen below a rank is its own, whoever else runs") {
  Family family;
  pid_t of_ended = 0, of_running = 0;
  const auto running = family.rank("/running", &of_running), ended = family.rank("/ended", &of_ended);
  Orphans orphans;
  orphans.look({running, ended});
  Family::end(ended);
  CHECK(orphans.kill_left(ended, {running}) == of_ended);
  CHECK(Family::was_killed(of_ended));
  CHECK(orphans.kill_left(ended, {running}) == 0);
  CHECK(lives(of_running));
}

TEST_CASE("orphans: one that was never seen is nobody's when it is older than all that run") {
  Family family;
  pid_t orphan = 0;
  const auto ended = family.rank("/ended", &orphan);
  ::usleep(30'000);  // start times are counted in ticks of 10 ms
  const auto running = family.rank("/running");
  Orphans orphans;
  Family::end(ended);
  CHECK(orphans.kill_left(ended, {running}) == orphan);
  CHECK(Family::was_killed(orphan));
  CHECK(lives(running.pid));
}

TEST_CASE("orphans: one that may be another rank's is let live until that has ended, too") {
  Family family;
  pid_t orphan = 0;
  const auto running = family.rank("/running"), ended = family.rank("/ended", &orphan);
  Orphans orphans;
  Family::end(ended);
  CHECK(orphans.kill_left(ended, {running}) == 0);
  CHECK(lives(orphan));
  Family::end(running);
  CHECK(orphans.kill_left(running, {}) == orphan);
  CHECK(Family::was_killed(orphan));
}

TEST_CASE("orphans: all below a rank, whatever its session") {
  Family family;
  pid_t child = 0;
  const auto rank = family.rank("/rank", &child);
  Orphans::kill_below(rank.pid);
  CHECK(lives(rank.pid));
  Family::end(rank);
  CHECK(Family::was_killed(child));
}

}  // namespace orphans_test
