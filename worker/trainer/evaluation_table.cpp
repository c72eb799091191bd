#include "worker/trainer/evaluation_table.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace rtrain {

std::string evaluation_table(const std::string& what, const std::vector<Metrics>& by_loader) {
  std::map<std::string, std::vector<std::string>> cells;
  for (std::size_t loader = 0; loader < by_loader.size(); ++loader) {
    for (const auto& [name, value] : by_loader[loader]) {
      auto& row = cells[name.substr(0, name.find("/dataloader_idx_"))];
      row.resize(by_loader.size());
      std::array<char, 40> text{};
      std::snprintf(text.data(), text.size(), "%.6g", value);
      row[loader] = text.data();
    }
  }
  if (cells.empty()) return {};
  std::vector<std::vector<std::string>> rows{{what + " metric"}};
  for (std::size_t i = 0; i < by_loader.size(); ++i) rows[0].push_back("DataLoader " + std::to_string(i));
  for (auto& [name, row] : cells) {
    rows.push_back({name});
    rows.back().insert(rows.back().end(), row.begin(), row.end());
  }
  std::vector<std::size_t> widths(rows[0].size());
  std::size_t width = 3 * (widths.size() - 1);
  for (std::size_t c = 0; c < widths.size(); ++c) {
    for (const auto& row : rows) widths[c] = std::max(widths[c], row[c].size());
    width += widths[c];
  }
  const auto rule = std::string(width, '-');
  std::string text = rule + "\n";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t c = 0; c < widths.size(); ++c) {
      auto cell = rows[r][c];
      cell.resize(widths[c], ' ');
      line += (c == 0 ? "" : " | ") + cell;
    }
    line.erase(line.find_last_not_of(" |") + 1);
    text += line + "\n" + (r == 0 ? rule + "\n" : "");
  }
  return text + rule;
}

}  // namespace rtrain
