#include "cli/table.h"

#include "cli/text.h"

#include <algorithm>

namespace rtrain::cli {

std::string styled(std::string_view text, Style style, bool colour) {
  const char* code = nullptr;
  switch (style) {
    case Style::kPlain: break;
    case Style::kBold: code = "1"; break;
    case Style::kDim: code = "2"; break;
    case Style::kGreen: code = "32"; break;
    case Style::kYellow: code = "33"; break;
    case Style::kRed: code = "31"; break;
    case Style::kBlue: code = "34"; break;
  }
  if (code == nullptr || !colour) return std::string(text);
  return std::string("\x1b[") + code + "m" + std::string(text) + "\x1b[0m";
}

Style state_style(std::string_view state) {
  if (state == "SUCCEEDED" || state == "READY") return Style::kGreen;
  if (state == "FAILED" || state == "LOST") return Style::kRed;
  if (state == "CANCELLED" || state == "STOPPING" || state == "SUSPECTED" || state == "CORDONED" ||
      state == "DRAINING" || state == "DRAINED" || state == "AWAY")
    return Style::kYellow;
  if (state == "RUNNING" || state == "STARTING" || state == "VALIDATING") return Style::kBlue;
  return Style::kPlain;
}

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {
  for (auto& header : headers_) {
    right_.push_back(header.starts_with('>'));
    if (right_.back()) header.erase(0, 1);
  }
}

void Table::add(std::vector<Cell> row) {
  row.resize(headers_.size());
  for (auto& cell : row) {
    cell.text = printable(cell.text, false);
    if (cell.text.empty()) cell.text = "-";
  }
  rows_.push_back(std::move(row));
}

std::string Table::str(int width, bool colour) const {
  std::vector<int> widths;
  for (const auto& header : headers_) widths.push_back(display_width(header));
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i].text));
  int before_last = 0;
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) before_last += widths[i] + 2;
  if (width > 0 && !widths.empty()) widths.back() = std::min(widths.back(), std::max(8, width - before_last));

  const auto line = [&](auto&& text_of, auto&& style_of) {
    std::string out;
    std::string gap;
    for (std::size_t i = 0; i < headers_.size(); ++i) {
      const std::string text = fit(text_of(i), widths[i]);
      const std::string pad(static_cast<std::size_t>(std::max(0, widths[i] - display_width(text))), ' ');
      if (right_[i]) gap += pad;
      out += gap + styled(text, style_of(i), colour);
      gap = (right_[i] ? "" : pad) + "  ";  // written only when something follows
    }
    return out + "\n";
  };
  std::string out =
      line([&](std::size_t i) { return headers_[i]; }, [](std::size_t) { return Style::kBold; });
  for (const auto& row : rows_)
    out += line([&](std::size_t i) { return row[i].text; }, [&](std::size_t i) { return row[i].style; });
  return out;
}

}  // namespace rtrain::cli
