#include "cli/live_line.h"

#include "cli/text.h"

namespace rtrain::cli {

Pieces LiveLine::show(std::vector<std::string> lines, const std::string& status, bool over, double now_s) {
  if (!options_.live && !over && status != plain_ && now_s - plain_s_ >= options_.plain_every_s) {
    plain_ = status;
    plain_s_ = now_s;
    lines.push_back(status);
  }
  return put(lines, options_.live && !over ? fit(status, width_ - 1) : "");
}

Pieces LiveLine::put(const std::vector<std::string>& lines, const std::string& live) {
  if (lines.empty() && live == shown_) return {};
  std::string text = shown_.empty() ? "" : "\r\x1b[K";
  for (const auto& line : lines) text += line + "\n";
  text += live;
  shown_ = live;
  return {{true, std::move(text)}};
}

}  // namespace rtrain::cli
