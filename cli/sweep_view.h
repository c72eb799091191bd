// What the user sees of a sweep that is being followed: pure, told how it stands, gives the pieces of text to
// write.
#pragma once

#include "cli/live_line.h"

#include <set>
#include <span>

namespace rtrain::cli {

class SweepView {
 public:
  using Options = LiveLine::Options;
  explicit SweepView(Options options) : line_(options) {}

  void set_width(int columns) { line_.set_width(columns); }
  /// `trials`: those from first_open() on, by number. One that has ended since the last call is told in a
  /// line.
  [[nodiscard]] Pieces on_sweep(const proto::SweepDoc& sweep, std::span<const proto::TrialDoc> trials,
                                double now_s);
  /// All trials below have been told.
  [[nodiscard]] std::int64_t first_open() const { return first_open_; }
  [[nodiscard]] LiveLine& line() { return line_; }

 private:
  std::set<std::int64_t> told_;  ///< trials from first_open_ on that were told
  std::int64_t first_open_ = 0;
  LiveLine line_;
};

}  // namespace rtrain::cli
