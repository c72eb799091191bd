// A table of text for a report: names to the left, numbers to the right.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace rtrain::profilers {

/// @param rows the first is the header; all have the same number of cells.
[[nodiscard]] inline std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::size_t whole = 1;
  for (const auto width : widths) whole += width + 3;
  const std::string line = std::string(whole, '-') + "\n";
  std::string text = line;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - row[i].size(), ' ');
      text += "| " + (i == 0 ? row[i] + space : space + row[i]) + " ";
    }
    text += "|\n";
    if (&row == &rows.front()) text += line;
  }
  return text + line;
}

/// "%.5g", with a point in any locale.
[[nodiscard]] std::string digits5(double value);

}  // namespace rtrain::profilers
