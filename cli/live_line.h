// The last line of a terminal, which is redrawn while lines scroll above it; without a terminal a line now
// and then. Pure.
#pragma once

#include "cli/follow_view.h"

namespace rtrain::cli {

/// All of it is for stderr.
class LiveLine {
 public:
  struct Options {
    bool live = false;          ///< stderr is a terminal: one line is redrawn
    bool colour = false;        ///< of stderr
    double plain_every_s = 10;  ///< without a terminal: at most one line with the status in this time
  };
  explicit LiveLine(Options options) : options_(options) {}

  void set_width(int columns) { width_ = columns; }
  [[nodiscard]] bool colour() const { return options_.colour; }
  /// `lines` are printed and stay. `status` says how it stands: redrawn below them on a terminal, else
  /// printed when it has changed. `over`: nobody needs it any more.
  [[nodiscard]] Pieces show(std::vector<std::string> lines, const std::string& status, bool over,
                            double now_s);
  /// A line above the one that stands there.
  [[nodiscard]] Pieces note(std::string_view line) { return put({std::string(line)}, shown_); }
  [[nodiscard]] Pieces finish() { return put({}, ""); }

 private:
  [[nodiscard]] Pieces put(const std::vector<std::string>& lines, const std::string& live);

  Options options_;
  int width_ = 80;
  std::string shown_;  ///< what stands below
  std::string plain_;  ///< the last status that was printed
  double plain_s_ = -1e9;
};

}  // namespace rtrain::cli
