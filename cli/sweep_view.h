// What the user sees of a sweep that is being followed: pure, told how it stands, gives the pieces of text to
// write.
#pragma once

#include "cli/live_line.h"

#include <set>
#include <span>

namespace rtrain::cli {

class SweepView {
 public:
  struct Options {
    bool live = false;          ///< stderr is a terminal: one line is redrawn
    bool colour = false;        ///< of stderr
    double plain_every_s = 10;  ///< without a terminal: at most one line with the counts in this time
  };
  explicit SweepView(Options options) : options_(options) {}

  void set_width(int columns) { width_ = columns; }
  /// `trials`: those from first_open() on, by number. One that has ended since the last call is told in a
  /// line.
  [[nodiscard]] Pieces on_sweep(const proto::SweepDoc& sweep, std::span<const proto::TrialDoc> trials,
                                double now_s);
  /// All trials below have been told.
  [[nodiscard]] std::int64_t first_open() const { return first_open_; }
  [[nodiscard]] LiveLine& line() { return line_; }

 private:
  Options options_;
  int width_ = 80;
  std::set<std::int64_t> told_;  ///< trials from first_open_ on that were told
  std::int64_t first_open_ = 0;
  std::string plain_;  ///< the last line with the counts
  double plain_s_ = -1e9;
  LiveLine line_;
};

}  // namespace rtrain::cli
