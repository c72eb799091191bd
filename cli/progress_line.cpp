#include "cli/progress_line.h"

#include "cli/text.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace rtrain::cli {

namespace {

std::string rate(double steps_per_s) {
  // Three digits are what changes visibly; large rates are whole numbers.
  return (steps_per_s >= 100 ? std::to_string(std::llround(steps_per_s)) : number(steps_per_s, 3)) + "it/s";
}

std::string tail(const proto::ProgressDoc& progress, double elapsed_s) {
  std::string out = " [" + clock_time(elapsed_s);
  if (progress.steps >= 0) {
    const double left = static_cast<double>(std::max<std::int64_t>(0, progress.steps - progress.step));
    out += "<" + (progress.steps_per_s > 0 ? clock_time(left / progress.steps_per_s)
                                           : std::string(left > 0 ? "?" : "00:00"));
  }
  if (progress.steps_per_s > 0) out += ", " + rate(progress.steps_per_s);
  if (const std::string metrics = metrics_line(progress.prog_bar, 3); !metrics.empty()) out += ", " + metrics;
  return out + "]";
}

std::string count(const proto::ProgressDoc& progress) {
  return progress.steps >= 0 ? std::to_string(progress.step) + "/" + std::to_string(progress.steps)
                             : std::to_string(progress.step) + "it";
}

std::string bar(double fraction, int columns) {
  static constexpr std::array kPart = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * columns * 8);
  std::string out;
  for (int i = 0; i < columns; ++i) {
    const int here = std::clamp(eighths - i * 8, 0, 8);
    out += here == 8 ? "█" : kPart[static_cast<std::size_t>(here)];
  }
  return out;
}

}  // namespace

std::string stage_name(const proto::ProgressDoc& progress) {
  if (progress.stage == "sanity") return "Sanity Checking";
  if (progress.stage == "validate") return "Validation";
  if (progress.stage == "test") return "Testing";
  if (progress.stage == "predict") return "Predicting";
  if (progress.stage == "train" || progress.stage.empty()) return "Epoch " + std::to_string(progress.epoch);
  return printable(progress.stage, false);
}

std::string progress_bar(const proto::ProgressDoc& progress, double elapsed_s, int width) {
  const std::string end = tail(progress, elapsed_s);
  if (progress.steps < 0) {
    const std::string line = stage_name(progress) + ": " + count(progress) + end;
    return width > 0 ? fit(line, width) : line;
  }
  const double fraction =
      progress.steps > 0 ? static_cast<double>(progress.step) / static_cast<double>(progress.steps) : 1.0;
  std::string percent = std::to_string(static_cast<int>(std::clamp(fraction, 0.0, 1.0) * 100));
  percent.insert(0, 3 - std::min<std::size_t>(3, percent.size()), ' ');
  const std::string before = stage_name(progress) + ": " + percent + "%|";
  const std::string after = "| " + count(progress) + end;
  const int room = width > 0 ? width - display_width(before) - display_width(after) : 10;
  const std::string line = before + bar(fraction, std::clamp(room, 3, 10)) + after;
  return width > 0 ? fit(line, width) : line;
}

std::string progress_text(const proto::ProgressDoc& progress, double elapsed_s) {
  return stage_name(progress) + ": " + count(progress) + tail(progress, elapsed_s);
}

}  // namespace rtrain::cli
