// Asks the head again and again until something is over.
#pragma once

#include "cli/follow.h"
#include "cli/live_line.h"

namespace rtrain::cli {

class Poller {
 public:
  /// Of `options` deadline and resume_within count. `way_on`: what a user does whose head stays away.
  Poller(boost::asio::io_context& io, Interrupts& interrupts, const Console& console, LiveLine& line,
         const Follower::Options& options, std::string way_on)
      : io_(io),
        interrupts_(interrupts),
        console_(console),
        line_(line),
        options_(options),
        way_on_(std::move(way_on)),
        interrupts_seen_(interrupts.count()) {}

  /// Asks and shows; true: it is over. kUnavailable and kTimeout are tried again, other errors end run().
  using Look = std::function<Result<bool>()>;
  /// As Follower::run(). The line is taken away at the end.
  [[nodiscard]] Result<Follower::End> run(const Look& look);
  void write(const Pieces& pieces) const;

 private:
  void pause(std::chrono::milliseconds duration);
  [[nodiscard]] Result<Follower::End> until_over(const Look& look);

  boost::asio::io_context& io_;
  Interrupts& interrupts_;
  const Console& console_;
  LiveLine& line_;
  Follower::Options options_;
  std::string way_on_;
  int interrupts_seen_;
};

}  // namespace rtrain::cli
