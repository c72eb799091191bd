// Metrics as JSON lines.
#pragma once

#include <rtrain/logger.h>
#include <rtrain/loggers/run_folder.h>

#include <fstream>
#include <optional>
#include <string>

namespace rtrain {

struct RTRAIN_API JSONLLoggerOptions {
  std::filesystem::path save_dir{};      ///< required
  std::string name = "lightning_logs";   ///< as CSVLoggerOptions
  std::optional<std::string> version{};  ///< as CSVLoggerOptions
  std::string prefix{};                  ///< in front of each name, with a "-"
};

/// Registered as "JSONLLogger". Appends one JSON object for each call to
/// save_dir/name/version_N/metrics.jsonl:
/// {"epoch":0,"loss":0.5,"step":1,"time":1795686349.25}, with the time in seconds since 1970; NaN and
/// infinities are the strings "NaN", "Infinity" and "-Infinity". A text is
/// {"step":1,"text":{"tag":"..."},...}; hyperparameters go to hparams.yaml. Each row is written at once.
class RTRAIN_API JSONLLogger : public Logger {
 public:
  /// @throws std::invalid_argument save_dir is empty.
  explicit JSONLLogger(JSONLLoggerOptions options);

  /// @throws std::runtime_error the file cannot be written: names it and the cause.
  void log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) override;
  void log_hyperparams(const nlohmann::json& hyperparameters) override;
  void log_text(const std::string& tag, const std::string& text, std::int64_t step) override;
  [[nodiscard]] std::string name() const override { return folder_.name(); }
  [[nodiscard]] std::string version() const override { return folder_.version(); }
  [[nodiscard]] std::filesystem::path save_dir() const override { return folder_.save_dir(); }
  [[nodiscard]] std::filesystem::path log_dir() const override { return folder_.path(); }

 private:
  void write(nlohmann::json row, std::int64_t step);
  RunFolder folder_;
  std::string prefix_;
  std::ofstream out_;
};

}  // namespace rtrain
