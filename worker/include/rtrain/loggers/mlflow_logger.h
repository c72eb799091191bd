// Runs on an MLflow tracking server: Lightning's MLFlowLogger.
#pragma once

#include <rtrain/logger.h>

#include <memory>
#include <optional>
#include <string>

namespace rtrain {

/// Lightning's arguments and defaults, and where they differ: there is no local store (mlruns), sending is
/// never synchronous, and checkpoints are not uploaded.
struct RTRAIN_API MLFlowLoggerOptions {
  std::string experiment_name = "lightning_logs";  ///< created if the server does not have it
  std::optional<std::string> run_name{};  ///< default: the run's name in a job, else the server's choice
  /// "http://host:port"; default: the environment's MLFLOW_TRACKING_URI. There is no https: a proxy on this
  /// machine can add it.
  std::string tracking_uri{};
  std::map<std::string, std::string> tags{};       ///< of the run
  std::string prefix{};                            ///< in front of each name, with a "-"
  std::optional<std::string> artifact_location{};  ///< of an experiment that is created
  std::optional<std::string> run_id{};             ///< continue this run
  /// where unsent requests wait while the server is away; default: the run's folder in a job, else the
  /// working directory
  std::filesystem::path spool_dir{};
  double finalize_timeout_s = 10;  ///< the end of a run waits at most so long for what is unsent; 0 or more
};

/// Registered as "MLFlowLogger". A thread of its own sends what is logged, in order: no call but finalize()
/// waits for the server. While the server is away, requests wait in spool_dir/mlflow-<run>.jsonl (one
/// warning), and go out when it is back; what is left at the end stays there for the next attempt of the job,
/// or for send_spool(). A request that the server refuses is dropped with a warning. In a job, the attempts
/// of it are one run of MLflow. MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD,
/// authenticate.
class RTRAIN_API MLFlowLogger : public Logger {
 public:
  /// @throws std::invalid_argument every problem of the options at once.
  explicit MLFlowLogger(MLFlowLoggerOptions options);
  MLFlowLogger(MLFlowLogger&&) noexcept;
  ~MLFlowLogger() override;

  /// Names keep letters, digits and "_/. -"; other characters become "_". NaN and infinities are sent as
  /// MLflow has them.
  void log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) override;
  /// Nested names are joined by "/"; values are cut to 250 characters.
  void log_hyperparams(const nlohmann::json& hyperparameters) override;
  /// Hands all that is left to the server, or to the spool file (one warning). FINISHED, FAILED, or SCHEDULED
  /// for a job that yielded.
  void finalize(const std::string& status) override;
  [[nodiscard]] std::string name() const override;     ///< the experiment's name
  [[nodiscard]] std::string version() const override;  ///< the run's id; empty until the server has given it
  /// "": nothing of this run waits in a file.
  [[nodiscard]] std::filesystem::path spool_file() const;

  /// Sends a file that an earlier run left, and removes it.
  /// @throws std::runtime_error the server is away or refuses a request: names it; the file stays.
  static void send_spool(const std::filesystem::path& file, const std::string& tracking_uri = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain
