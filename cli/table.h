// A table for a terminal or a pipe: columns aligned by display width, two spaces between them, no lines
// drawn. Pure.
#pragma once

#include <string>
#include <vector>

namespace rtrain::cli {

/// How a word stands out. Never the only bearer of a meaning: the word itself says it as well.
enum class Style { kPlain, kBold, kDim, kGreen, kYellow, kRed, kBlue };
[[nodiscard]] std::string styled(std::string_view text, Style style, bool colour);
/// The style of a job's, rank's or node's state.
[[nodiscard]] Style state_style(std::string_view state);

struct Cell {
  Cell(std::string t = {}, Style s = Style::kPlain) : text(std::move(t)), style(s) {}
  Cell(const char* t) : text(t) {}
  std::string text;
  Style style = Style::kPlain;
};

class Table {
 public:
  /// A header that starts with '>' makes its column right-aligned.
  explicit Table(std::vector<std::string> headers);
  /// Missing cells are "-"; an empty text is shown as "-" too.
  void add(std::vector<Cell> row);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  /// Lines ending in '\n', the last column cut to `width` columns (0: not cut), no trailing spaces.
  [[nodiscard]] std::string str(int width, bool colour) const;

 private:
  std::vector<std::string> headers_;
  std::vector<bool> right_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace rtrain::cli
