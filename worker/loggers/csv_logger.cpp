#include <rtrain/loggers/csv_logger.h>

#include "worker/loggers/hyperparameters.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace rtrain {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTable = "metrics.csv";

[[noreturn]] void fail(const fs::path& path) {
  throw std::runtime_error("CSVLogger: " + path.string() + ": " + std::strerror(errno));
}

/// The shortest text that reads back as the same number, with a point in any locale.
std::string text_of(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

std::string quoted(const std::string& cell) {
  if (cell.find_first_of(",\"\n") == std::string::npos) return cell;
  std::string text = "\"";
  for (const char c : cell) text += c == '"' ? "\"\"" : std::string(1, c);
  return text + "\"";
}

/// The cells of one line; a quoted one may hold commas.
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  bool within = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (within && line[i] == '"' && i + 1 < line.size() && line[i + 1] == '"')
      cells.back() += line[++i];
    else if (line[i] == '"')
      within = !within;
    else if (line[i] == ',' && !within)
      cells.emplace_back();
    else
      cells.back() += line[i];
  }
  return cells;
}

}  // namespace

CSVLogger::CSVLogger(CSVLoggerOptions options)
    : options_(std::move(options)), run_folder_(options_.save_dir, options_.name, options_.version) {
  std::string problems;
  if (options_.save_dir.empty()) problems += "\n  save_dir is empty, expected a folder";
  if (options_.flush_logs_every_n_steps < 1)
    problems += "\n  flush_logs_every_n_steps is " + std::to_string(options_.flush_logs_every_n_steps) +
                ", expected 1 or more";
  if (!problems.empty()) throw std::invalid_argument("CSVLogger: these options cannot be used:" + problems);
}

CSVLogger::~CSVLogger() {
  try {
    flush();
  } catch (const std::exception&) {
    // finalize() has told it, or nobody asked for the file.
  }
}

/// Not before the first row: a Trainer that logs nothing leaves no folder.
void CSVLogger::open() {
  if (opened_) return;
  folder_ = run_folder_.create("CSVLogger");
  opened_ = true;
  std::ifstream before(folder_ / kTable);
  std::string text;
  if (!std::getline(before, text)) return;
  const auto header = cells_of(text);
  columns_.insert(header.begin(), header.end());
  while (std::getline(before, text)) {
    const auto cells = cells_of(text);
    Row row;
    for (std::size_t i = 0; i < cells.size() && i < header.size(); ++i)
      if (!cells[i].empty()) row.emplace(header[i], cells[i]);
    rows_.push_back(std::move(row));
  }
  written_ = rows_.size();
}

void CSVLogger::log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) {
  open();
  Row row{{"step", std::to_string(step)}};
  for (const auto& [name, value] : metrics) {
    const auto column = options_.prefix.empty() ? name : options_.prefix + "-" + name;
    row[column] = text_of(value);
    if (columns_.insert(column).second) rewrite_ = true;
  }
  rows_.push_back(std::move(row));
}

std::string CSVLogger::line(const Row& row) const {
  std::string text;
  for (const auto& column : columns_) {
    const auto cell = row.find(column);
    if (column != *columns_.begin()) text += ',';
    if (cell != row.end()) text += quoted(cell->second);
  }
  return text + "\n";
}

void CSVLogger::flush() {
  if (!opened_ || written_ == rows_.size()) return;
  const auto path = folder_ / kTable;
  std::string text;
  if (rewrite_ || written_ == 0) {
    for (const auto& column : columns_) text += (text.empty() ? "" : ",") + quoted(column);
    text += "\n";
    written_ = 0;
  }
  for (std::size_t i = written_; i < rows_.size(); ++i) text += line(rows_[i]);
  std::ofstream out(path, std::ios::binary | (written_ == 0 ? std::ios::trunc : std::ios::app));
  out << text;
  out.close();
  if (!out) fail(path);
  written_ = rows_.size();
  rewrite_ = false;
}

void CSVLogger::save() {
  if (static_cast<std::int64_t>(rows_.size() - written_) >= options_.flush_logs_every_n_steps) flush();
}

void CSVLogger::finalize(const std::string&) { flush(); }

void CSVLogger::log_hyperparams(const nlohmann::json& hyperparameters) {
  open();
  loggers::write_hparams("CSVLogger", folder_, hyperparameters);
}

RTRAIN_REGISTER_OPTIONS(Logger, "CSVLogger", CSVLogger, CSVLoggerOptions, save_dir, name, version, prefix,
                        flush_logs_every_n_steps);

}  // namespace rtrain
