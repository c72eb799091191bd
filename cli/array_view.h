// What the user sees of an array that is being followed, and of how it ended: pure, told the jobs, gives the
// pieces of text to write.
#pragma once

#include "cli/live_line.h"
#include "cli/table.h"

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace rtrain::cli {

/// How many jobs are in which state, in the order of a job's life: "2 RUNNING, 7 QUEUED, 1 FAILED".
class StateCounts {
 public:
  void add(const std::string& state) { ++counts_[state]; }
  [[nodiscard]] int of(const std::string& state) const;
  [[nodiscard]] std::string text() const;
  /// The one state of all, or the first that is not an end; of ends the worst: FAILED, CANCELLED, SUCCEEDED.
  [[nodiscard]] std::string leading() const;

 private:
  std::map<std::string, int> counts_;
};
[[nodiscard]] StateCounts count_states(std::span<const proto::JobDoc> jobs);

/// "12_[0-99]", "12_[0-8:2]", for a list "12_[1,...,9]": the array that a job is of. `job.array` must be
/// there.
[[nodiscard]] std::string array_name_of(const proto::JobDoc& job);

/// 0, or the exit status of the worst end: FAILED before CANCELLED before SUCCEEDED.
[[nodiscard]] int exit_of_jobs(std::span<const proto::JobDoc> jobs);

class ArrayView {
 public:
  using Options = LiveLine::Options;
  explicit ArrayView(Options options) : line_(options) {}

  void set_width(int columns) { line_.set_width(columns); }
  /// All jobs of the array, by index. A job that has ended since the last call is told in a line.
  [[nodiscard]] Pieces on_jobs(std::span<const proto::JobDoc> jobs, double now_s);
  /// The line below, for what else there is to say.
  [[nodiscard]] LiveLine& line() { return line_; }

 private:
  std::set<JobId> printed_;  ///< whose ends were told
  LiveLine line_;
};

/// The results of an array in a table, then one line with the counts. `width` 0: not cut.
[[nodiscard]] std::string array_block(std::span<const proto::JobDoc> jobs, std::int64_t now_ms, int width,
                                      bool colour);

}  // namespace rtrain::cli
