// Follows the jobs of an array until all have ended, by asking for their list again and again.
#pragma once

#include "cli/array_view.h"
#include "cli/job_pages.h"
#include "cli/poller.h"

namespace rtrain::cli {

class ArrayFollower {
 public:
  /// Of `options` deadline and resume_within count.
  ArrayFollower(boost::asio::io_context& io, Interrupts& interrupts, Get get, const Console& console,
                ArrayView& view, JobId array, Follower::Options options)
      : get_(std::move(get)),
        console_(console),
        view_(view),
        array_(array),
        poller_(io, interrupts, console, view.line(), options,
                "the jobs do not depend on this program; wait for them again: rtrain result --wait " +
                    rtrain::to_string(array)) {}
  /// As Follower::run().
  [[nodiscard]] Result<Follower::End> run();
  /// By index, as they were last heard of.
  [[nodiscard]] const std::vector<proto::JobDoc>& jobs() const { return jobs_; }

 private:
  Get get_;
  const Console& console_;
  ArrayView& view_;
  JobId array_;
  Poller poller_;
  std::vector<proto::JobDoc> jobs_;
};

/// The jobs of an array, by index.
[[nodiscard]] Result<std::vector<proto::JobDoc>> jobs_of_array(const Get& get, JobId array);

/// Shows how the jobs of an array ended, and gives the exit status: a table, or with -o json {"id",
/// "results": [Result]} on one line.
[[nodiscard]] Result<int> show_array_end(const Console& console, const std::string& output, const Get& get,
                                         std::span<const proto::JobDoc> jobs);

}  // namespace rtrain::cli
