// Metrics as a table.
#pragma once

#include <rtrain/logger.h>
#include <rtrain/loggers/run_folder.h>

#include <optional>
#include <set>
#include <vector>

namespace rtrain {

/// Lightning's arguments and defaults.
struct RTRAIN_API CSVLoggerOptions {
  std::filesystem::path save_dir{};     ///< required
  std::string name = "lightning_logs";  ///< a folder of save_dir; empty: save_dir itself
  /// the folder below it; left out: the run's name in a job, else version_N, with the first N above all that
  /// are there
  std::optional<std::string> version{};
  std::string prefix{};                         ///< in front of each name, with a "-"
  std::int64_t flush_logs_every_n_steps = 100;  ///< rows that wait at most; 1 or more
};

/// Registered as "CSVLogger". Writes save_dir/name/version_N/metrics.csv: a row for each call of
/// log_metrics(), the columns in alphabetical order with "step" among them. A metric that comes for the first
/// time rewrites the file with its column. A version that is there already is continued, as by a job that is
/// tried again; Lightning deletes its file.
class RTRAIN_API CSVLogger : public Logger {
 public:
  /// @throws std::invalid_argument every problem of the options at once.
  explicit CSVLogger(CSVLoggerOptions options);
  ~CSVLogger() override;

  /// @throws std::runtime_error the file cannot be written: names it and the cause.
  void log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) override;
  /// hparams.yaml beside the table.
  void log_hyperparams(const nlohmann::json& hyperparameters) override;
  void save() override;
  void finalize(const std::string& status) override;
  [[nodiscard]] std::string name() const override { return run_folder_.name(); }
  [[nodiscard]] std::string version() const override { return run_folder_.version(); }
  [[nodiscard]] std::filesystem::path save_dir() const override { return run_folder_.save_dir(); }
  [[nodiscard]] std::filesystem::path log_dir() const override { return run_folder_.path(); }

 private:
  using Row = std::map<std::string, std::string>;
  void open();
  void flush();
  [[nodiscard]] std::string line(const Row& row) const;

  CSVLoggerOptions options_;
  RunFolder run_folder_;
  std::filesystem::path folder_;  ///< once it exists
  std::set<std::string> columns_{"step"};
  std::vector<Row> rows_;    ///< all, for a column that comes late
  std::size_t written_ = 0;  ///< of them, in the file
  bool opened_ = false, rewrite_ = false;
};

}  // namespace rtrain
