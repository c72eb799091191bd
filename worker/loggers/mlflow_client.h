// MLflow's REST API 2.0, as far as a logger needs it.
#pragma once

#include "worker/loggers/http_client.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace rtrain::loggers {

/// The run that requests belong to. `run_id` is "" until the server has given one.
struct MLFlowRun {
  std::string experiment_name;
  std::optional<std::string> artifact_location{};
  std::optional<std::string> run_name{};
  nlohmann::json tags = nlohmann::json::object();
  std::int64_t start_ms = 0;
  std::string run_id{};

  [[nodiscard]] nlohmann::json json() const;
  /// @throws std::runtime_error it is not one.
  [[nodiscard]] static MLFlowRun from_json(const nlohmann::json& json);
};

/// A request of the run; the client adds "run_id".
struct MLFlowRequest {
  std::string path;  ///< "runs/log-batch"
  nlohmann::json body = nlohmann::json::object();
};

enum class Sent { kYes, kRefused, kAway };
struct Outcome {
  Sent sent = Sent::kYes;
  std::string cause{};  ///< of the other two
};

/// @thread one.
class MLFlowClient {
 public:
  /// The environment's MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD, authenticate.
  /// @throws std::invalid_argument the address cannot be used.
  explicit MLFlowClient(const std::string& tracking_uri);

  /// Finds or creates the experiment, and the run in it; fills run.run_id in.
  [[nodiscard]] Outcome create(MLFlowRun& run);
  /// Creates the run first, if it has no id. What may go well later counts as away: a run that cannot be
  /// created, missing rights, an overloaded server.
  [[nodiscard]] Outcome send(MLFlowRun& run, const MLFlowRequest& request);

 private:
  struct Answer {
    Outcome outcome;
    nlohmann::json body;
    std::string error_code;  ///< MLflow's
  };
  [[nodiscard]] Answer ask(const std::string& method, const std::string& target, const nlohmann::json& body);
  [[nodiscard]] Answer find_experiment(const std::string& name);
  HttpAddress address_;
  std::map<std::string, std::string> headers_;
};

/// `given`, or MLFLOW_TRACKING_URI.
[[nodiscard]] std::string tracking_uri_or_environment(const std::string& given);

}  // namespace rtrain::loggers
