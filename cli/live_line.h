// The last line of a terminal, which is redrawn while lines scroll above it. Pure.
#pragma once

#include "cli/follow_view.h"

namespace rtrain::cli {

/// All of it is for stderr.
class LiveLine {
 public:
  /// `lines` are printed and stay; `live` stands below them until the next call. "": nothing does.
  [[nodiscard]] Pieces show(const std::vector<std::string>& lines, const std::string& live);
  /// A line above the one that stands there.
  [[nodiscard]] Pieces note(std::string_view line) { return show({std::string(line)}, shown_); }
  [[nodiscard]] Pieces finish() { return show({}, ""); }

 private:
  std::string shown_;
};

}  // namespace rtrain::cli
