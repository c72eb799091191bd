// Event files that TensorBoard reads: Lightning's TensorBoardLogger.
#pragma once

#include <rtrain/logger.h>
#include <rtrain/loggers/run_folder.h>

#include <memory>
#include <optional>
#include <string>

namespace rtrain {

/// Lightning's arguments and defaults; there is no log_graph.
struct RTRAIN_API TensorBoardLoggerOptions {
  std::filesystem::path save_dir{};      ///< required
  std::string name = "lightning_logs";   ///< as CSVLoggerOptions
  std::optional<std::string> version{};  ///< as CSVLoggerOptions
  /// hyperparameters without metrics come with hp_metric = -1, so that TensorBoard's HPARAMS tab lists the
  /// run
  bool default_hp_metric = true;
  std::string prefix{};             ///< in front of each name, with a "-"
  std::filesystem::path sub_dir{};  ///< a folder below the version for the event file
};

/// Registered as "TensorBoardLogger". Writes save_dir/name/version_N/events.out.tfevents.*, without protobuf
/// or TensorFlow, and hparams.yaml beside it. A version that is there already gets one more event file, which
/// TensorBoard shows as the same run.
class RTRAIN_API TensorBoardLogger : public Logger {
 public:
  /// @throws std::invalid_argument save_dir is empty.
  explicit TensorBoardLogger(TensorBoardLoggerOptions options);
  TensorBoardLogger(TensorBoardLogger&&) noexcept;
  ~TensorBoardLogger() override;

  /// All of these: @throws std::runtime_error the file cannot be written: names it and the cause.
  void log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) override;
  void log_hyperparams(const nlohmann::json& hyperparameters) override;
  /// With the metrics that the HPARAMS tab compares runs by; they are logged at `step`.
  void log_hyperparams(const nlohmann::json& hyperparameters, const std::map<std::string, double>& metrics,
                       std::int64_t step = 0);
  /// @throws std::invalid_argument a complex type.
  void log_histogram(const std::string& tag, const torch::Tensor& values, std::int64_t step) override;
  /// @throws std::invalid_argument another shape or type: names it.
  void log_image(const std::string& tag, const torch::Tensor& image, std::int64_t step) override;
  /// Markdown. The tag in the file is "<tag>/text_summary".
  void log_text(const std::string& tag, const std::string& text, std::int64_t step) override;
  void save() override;
  void finalize(const std::string& status) override;
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] std::string version() const override;
  [[nodiscard]] std::filesystem::path save_dir() const override;
  /// With sub_dir.
  [[nodiscard]] std::filesystem::path log_dir() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain
