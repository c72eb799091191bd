// Follows a sweep until it has ended, by asking for it again and again.
#pragma once

#include "cli/job_pages.h"
#include "cli/poller.h"
#include "cli/sweep_view.h"

namespace rtrain::cli {

class SweepFollower {
 public:
  /// Of `options` deadline and resume_within count.
  SweepFollower(boost::asio::io_context& io, Interrupts& interrupts, Get get, const Console& console,
                SweepView& view, JobId sweep, const Follower::Options& options)
      : get_(std::move(get)),
        console_(console),
        view_(view),
        sweep_(sweep),
        poller_(io, interrupts, console, view.line(), options,
                "the sweep does not depend on this program; wait for it again: rtrain sweep result --wait " +
                    rtrain::to_string(sweep)) {}
  /// As Follower::run().
  [[nodiscard]] Result<Follower::End> run();

 private:
  [[nodiscard]] Result<bool> look();

  Get get_;
  const Console& console_;
  SweepView& view_;
  JobId sweep_;
  Poller poller_;
};

}  // namespace rtrain::cli
