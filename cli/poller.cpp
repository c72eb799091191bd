#include "cli/poller.h"

#include <algorithm>
#include <utility>

namespace rtrain::cli {

using namespace std::chrono_literals;

namespace {

using PollClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPollMin = 100ms, kPollMax = 5000ms;
constexpr int kPollShare = 20;  // a look that takes long is taken more rarely: it has a twentieth of the time
constexpr auto kPollRetry = 500ms;

}  // namespace

void Poller::write(const Pieces& pieces) const {
  for (const auto& piece : pieces) piece.to_stderr ? console_.err(piece.text) : console_.out(piece.text);
}

void Poller::pause(std::chrono::milliseconds duration) {
  auto until = PollClock::now() + duration;
  if (options_.deadline) until = std::min(until, *options_.deadline);
  while (PollClock::now() < until && interrupts_.count() == interrupts_seen_) {
    if (io_.stopped()) io_.restart();
    io_.run_one_until(until);
  }
}

Result<Follower::End> Poller::run(const Look& look) {
  auto end = until_over(look);
  write(line_.finish());
  return end;
}

Result<Follower::End> Poller::until_over(const Look& look) {
  std::optional<PollClock::time_point> lost_at;
  for (;;) {
    interrupts_.poll();
    if (interrupts_.count() > interrupts_seen_) {
      interrupts_seen_ = interrupts_.count();
      return Follower::End::kInterrupted;
    }
    if (options_.deadline && PollClock::now() >= *options_.deadline) return Follower::End::kTimeout;
    const auto begun = PollClock::now();
    const auto over = look();
    if (!over) {
      const auto code = over.error().code();
      if (code != Errc::kUnavailable && code != Errc::kTimeout) return over.error();
      if (!lost_at) {
        lost_at = begun;
        write(line_.note("the connection to the head was lost; reconnecting..."));
      }
      if (PollClock::now() - *lost_at >= options_.resume_within)
        return fail(Errc::kUnavailable, "the head is still unreachable: " + over.error().message(), way_on_);
      pause(kPollRetry);
      continue;
    }
    if (std::exchange(lost_at, std::nullopt)) write(line_.note("connected again"));
    if (*over) return Follower::End::kEnded;
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(PollClock::now() - begun);
    pause(std::clamp(kPollShare * took, kPollMin, kPollMax));
  }
}

}  // namespace rtrain::cli
