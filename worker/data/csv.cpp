#include <rtrain/data/csv.h>

#include "worker/data/broken_samples.h"
#include "worker/data/file_bytes.h"

#include <rtrain/data/tensor_dataset.h>

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <charconv>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>

namespace rtrain::data {
namespace {

using Cells = std::vector<std::string>;

/// Rows of a text, one after the other. https://www.rfc-editor.org/rfc/rfc4180
class Rows {
 public:
  Rows(std::string_view text, char delimiter) : text_(text), delimiter_(delimiter) {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
  }
  [[nodiscard]] std::int64_t line() const { return line_; }  ///< where the latest row begins, from 1

  [[nodiscard]] std::optional<Cells> next() {
    while (true) {
      line_ = next_line_;
      if (at_ >= text_.size()) return std::nullopt;
      auto cells = row();
      if (cells.size() > 1 || !cells.front().empty()) return cells;
    }
  }

 private:
  Cells row() {
    Cells cells(1);
    bool in_quotes = false;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      auto& cell = cells.back();
      if (c == '\n') ++next_line_;
      if (in_quotes) {
        if (c != '"')
          cell += c;
        else if (at_ < text_.size() && text_[at_] == '"')
          cell += text_[at_++];
        else
          in_quotes = false;
      } else if (c == '"' && cell.empty()) {
        in_quotes = true;
      } else if (c == delimiter_) {
        cells.emplace_back();
      } else if (c == '\n') {
        return cells;
      } else if (c != '\r' || at_ >= text_.size() || text_[at_] != '\n') {
        cell += c;
      }
    }
    if (in_quotes)
      throw std::runtime_error("the quote of the row in line " + std::to_string(line_) + " is not closed");
    return cells;
  }

  std::string_view text_;
  char delimiter_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1, next_line_ = 1;
};

std::string_view trimmed(std::string_view cell) {
  const auto begin = cell.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return cell.substr(begin, cell.find_last_not_of(" \t") - begin + 1);
}

template <class T>
bool parse(std::string_view cell, T& value) {
  if (cell.starts_with('+')) cell.remove_prefix(1);
  const auto end = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  return end.ec == std::errc() && end.ptr == cell.data() + cell.size();
}

template <class T>
std::optional<torch::Tensor> as_numbers(const std::vector<std::string>& cells, at::ScalarType type) {
  auto numbers = at::empty({static_cast<std::int64_t>(cells.size())}, at::dtype(type));
  auto* to = numbers.mutable_data_ptr<T>();
  bool any = false;
  for (const auto& given : cells) {
    const auto cell = trimmed(given);
    if constexpr (std::is_floating_point_v<T>) {
      if (cell.empty()) {
        *to++ = std::numeric_limits<T>::quiet_NaN();
        continue;
      }
    }
    if (!parse(cell, *to++)) return std::nullopt;
    any = true;
  }
  if (!any && !cells.empty()) return std::nullopt;
  return numbers;
}

CsvTable::Column typed(std::string name, std::vector<std::string> cells) {
  CsvTable::Column column{.name = std::move(name)};
  auto numbers = as_numbers<std::int64_t>(cells, at::kLong);
  if (!numbers) numbers = as_numbers<double>(cells, at::kDouble);
  if (numbers)
    column.numbers = std::move(*numbers);
  else
    column.texts = std::move(cells);
  return column;
}

CsvTable table_of(std::string_view text, const std::string& path, const CsvOptions& options) {
  Rows rows(text, options.delimiter);
  auto row = rows.next();
  if (!row) throw std::runtime_error("it has no row");
  Cells names = *row;
  if (options.has_header)
    row = rows.next();
  else
    for (std::size_t i = 0; i < names.size(); ++i) names[i] = std::to_string(i);
  std::vector<std::vector<std::string>> columns(names.size());
  BrokenSamples broken("read_csv");
  std::int64_t count = 0;
  for (; row; row = rows.next()) {
    if (row->size() != names.size()) {
      const auto why = "line " + std::to_string(rows.line()) + " has " + std::to_string(row->size()) +
                       " cells, the first one has " + std::to_string(names.size());
      if (options.on_error == OnError::kRaise) throw std::runtime_error(why);
      broken.skip(std::to_string(rows.line()), path + ": " + why);
      continue;
    }
    for (std::size_t i = 0; i < names.size(); ++i) columns[i].push_back(std::move((*row)[i]));
    ++count;
  }
  std::vector<CsvTable::Column> all;
  for (std::size_t i = 0; i < names.size(); ++i)
    all.push_back(typed(std::move(names[i]), std::move(columns[i])));
  return CsvTable(std::move(all), count);
}

torch::Tensor target_of(const CsvTable::Column& column) {
  if (column.numbers.defined())
    return column.numbers.scalar_type() == at::kLong ? column.numbers : column.numbers.to(at::kFloat);
  std::map<std::string, std::int64_t> places;
  for (const auto& text : column.texts) places.emplace(text, 0);
  std::int64_t place = 0;
  for (auto& [text, number] : places) number = place++;
  auto target = at::empty({static_cast<std::int64_t>(column.texts.size())}, at::kLong);
  auto* to = target.mutable_data_ptr<std::int64_t>();
  for (const auto& text : column.texts) *to++ = places.at(text);
  return target;
}

}  // namespace

const CsvTable::Column& CsvTable::operator[](std::string_view name) const {
  std::string known;
  for (const auto& column : columns_) {
    if (column.name == name) return column;
    known += (known.empty() ? "" : ", ") + column.name;
  }
  throw std::out_of_range("the table has no column \"" + std::string(name) + "\"; it has " +
                          (known.empty() ? "none" : known));
}

CsvTable read_csv(const std::filesystem::path& path, CsvOptions options) {
  try {
    const auto bytes = read_bytes(path);
    return table_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string(), options);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

std::shared_ptr<Dataset> CSV(const CsvTable& table, std::vector<std::string> inputs,
                             const std::string& target) {
  if (inputs.empty())
    for (const auto& column : table.columns())
      if (column.name != target) inputs.push_back(column.name);
  std::vector<torch::Tensor> columns;
  for (const auto& name : inputs) {
    const auto& column = table[name];
    if (!column.numbers.defined())
      throw std::invalid_argument("CSV: the input \"" + name + "\" is text (\"" +
                                  (column.texts.empty() ? "" : column.texts.front()) +
                                  "\", ...); inputs are columns of numbers");
    columns.push_back(column.numbers.to(at::kFloat));
  }
  if (columns.empty()) throw std::invalid_argument("CSV: there is no column for the input");
  return TensorDataset(at::stack(columns, 1), target.empty() ? torch::Tensor() : target_of(table[target]));
}

}  // namespace rtrain::data
