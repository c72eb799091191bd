// Tables of comma-separated values.
#pragma once

#include <rtrain/data/dataset.h>
#include <rtrain/data/image_io.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::data {

struct RTRAIN_API CsvOptions {
  char delimiter = ',';
  bool has_header = true;  ///< false: the columns are called "0", "1", ...
  /// kSkip: rows with another number of cells than the first are left out, with one warning
  OnError on_error = OnError::kRaise;
};

/// What a file holds, column by column. Cells may be in quotes (RFC 4180: "" is a quote, line breaks count as
/// text); empty lines are left out.
class RTRAIN_API CsvTable {
 public:
  /// One column of all rows.
  struct Column {
    std::string name;
    /// [rows]: int64 if all cells are integers, else float64 if all are numbers; an empty cell is NaN.
    /// Undefined if the column is text
    torch::Tensor numbers{};
    std::vector<std::string> texts{};  ///< of a column of text
  };
  explicit CsvTable(std::vector<Column> columns, std::int64_t rows)
      : columns_(std::move(columns)), rows_(rows) {}
  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] const std::vector<Column>& columns() const { return columns_; }
  /// @throws std::out_of_range if there is no such column (names those that there are).
  [[nodiscard]] const Column& operator[](std::string_view name) const;

 private:
  std::vector<Column> columns_;
  std::int64_t rows_ = 0;
};

/// @throws std::runtime_error names the file and the line: it cannot be read, a quote is not closed, a row
/// has
///         another number of cells than the first.
[[nodiscard]] RTRAIN_API CsvTable read_csv(const std::filesystem::path& path, CsvOptions options = {});

/// A table as a data set: input float32 [N, inputs].
/// @param inputs columns of numbers; empty: all but the target.
/// @param target of integers: int64 [N]; of other numbers: float32 [N]; of text: int64 [N], the place of the
///        text among all texts of the column, sorted. "": no target.
/// @throws std::out_of_range there is no such column; std::invalid_argument an input is text.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> CSV(const CsvTable& table, std::vector<std::string> inputs,
                                                      const std::string& target);

}  // namespace rtrain::data
