#include "cli/live_line.h"

namespace rtrain::cli {

Pieces LiveLine::show(const std::vector<std::string>& lines, const std::string& live) {
  if (lines.empty() && live == shown_) return {};
  std::string text = shown_.empty() ? "" : "\r\x1b[K";
  for (const auto& line : lines) text += line + "\n";
  text += live;
  shown_ = live;
  return {{true, std::move(text)}};
}

}  // namespace rtrain::cli
