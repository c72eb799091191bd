#include "worker/loggers/mlflow_client.h"

#include "worker/runtime/json.h"

#include <boost/beast/core/detail/base64.hpp>

#include <cstdlib>
#include <stdexcept>

namespace rtrain::loggers {
namespace {

constexpr const char* kApi = "/api/2.0/mlflow/";
constexpr std::chrono::seconds kTimeout{10};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string base64(const std::string& text) {
  namespace codec = boost::beast::detail::base64;
  std::string out(codec::encoded_size(text.size()), '\0');
  out.resize(codec::encode(out.data(), text.data(), text.size()));
  return out;
}

/// MLflow has lists of key and value where others have objects.
nlohmann::json pairs(const nlohmann::json& object) {
  auto list = nlohmann::json::array();
  for (const auto& item : object.items()) list.push_back({{"key", item.key()}, {"value", item.value()}});
  return list;
}

}  // namespace

nlohmann::json MLFlowRun::json() const {
  nlohmann::json json{
      {"experiment_name", experiment_name}, {"tags", tags}, {"start_ms", start_ms}, {"run_id", run_id}};
  if (artifact_location) json["artifact_location"] = *artifact_location;
  if (run_name) json["run_name"] = *run_name;
  return json;
}

MLFlowRun MLFlowRun::from_json(const nlohmann::json& json) {
  try {
    MLFlowRun run{.experiment_name = json.at("experiment_name").get<std::string>(),
                  .tags = json.at("tags"),
                  .start_ms = json.at("start_ms").get<std::int64_t>(),
                  .run_id = json.at("run_id").get<std::string>()};
    if (json.contains("artifact_location"))
      run.artifact_location = json["artifact_location"].get<std::string>();
    if (json.contains("run_name")) run.run_name = json["run_name"].get<std::string>();
    return run;
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error(std::string("is not a run of MLFlowLogger: ") + error.what());
  }
}

std::string tracking_uri_or_environment(const std::string& given) {
  return given.empty() ? variable("MLFLOW_TRACKING_URI") : given;
}

MLFlowClient::MLFlowClient(const std::string& tracking_uri) : address_(HttpAddress::parse(tracking_uri)) {
  if (const auto token = variable("MLFLOW_TRACKING_TOKEN"); !token.empty())
    headers_["Authorization"] = "Bearer " + token;
  else if (const auto user = variable("MLFLOW_TRACKING_USERNAME"); !user.empty())
    headers_["Authorization"] = "Basic " + base64(user + ":" + variable("MLFLOW_TRACKING_PASSWORD"));
}

MLFlowClient::Answer MLFlowClient::ask(const std::string& method, const std::string& target,
                                       const nlohmann::json& body) {
  const auto reply = exchange(
      address_, {method, kApi + target, method == "GET" ? std::string() : runtime::dump_json(body), headers_},
      kTimeout);
  const auto where = "http://" + address_.host + ":" + std::to_string(address_.port) + address_.base;
  if (reply.status == 0) return {{Sent::kAway, where + ": " + reply.body}, {}, {}};
  const auto document = runtime::parse_json(reply.body.empty() ? "{}" : reply.body);
  const auto content = document && document->is_object() ? *document : nlohmann::json::object();
  if (reply.status < 300) {
    if (!document)
      return {{Sent::kRefused, where + " answers something else than JSON: is it MLflow?"}, {}, {}};
    return {{}, content, {}};
  }
  const auto text = [&](const char* key) {
    const auto found = content.find(key);
    return found != content.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto cause = where + " answers " + std::to_string(reply.status) + " to " + target + ": " +
                     (text("message").empty() ? reply.body.substr(0, 200) : text("message"));
  // A server that is overloaded, or that does not know us yet: the same request can go well later.
  const bool later = reply.status >= 500 || reply.status == 429 || reply.status == 408 ||
                     reply.status == 401 || reply.status == 403;
  return {{later ? Sent::kAway : Sent::kRefused, cause}, {}, text("error_code")};
}

MLFlowClient::Answer MLFlowClient::find_experiment(const std::string& name) {
  return ask("GET", "experiments/get-by-name?experiment_name=" + percent_encoded(name), {});
}

Outcome MLFlowClient::create(MLFlowRun& run) {
  std::string experiment;
  auto found = find_experiment(run.experiment_name);
  if (found.error_code == "RESOURCE_DOES_NOT_EXIST") {
    nlohmann::json body{{"name", run.experiment_name}};
    if (run.artifact_location) body["artifact_location"] = *run.artifact_location;
    auto created = ask("POST", "experiments/create", body);
    // Another run may have made it in between.
    if (created.error_code == "RESOURCE_ALREADY_EXISTS")
      found = find_experiment(run.experiment_name);
    else if (created.outcome.sent != Sent::kYes)
      return created.outcome;
    else
      experiment = created.body.value("experiment_id", "");
  }
  if (experiment.empty()) {
    if (found.outcome.sent != Sent::kYes) return found.outcome;
    experiment = found.body.value(nlohmann::json::json_pointer("/experiment/experiment_id"), "");
  }
  nlohmann::json body{{"experiment_id", experiment}, {"start_time", run.start_ms}, {"tags", pairs(run.tags)}};
  if (run.run_name) body["run_name"] = *run.run_name;
  const auto made = ask("POST", "runs/create", body);
  if (made.outcome.sent != Sent::kYes) return made.outcome;
  run.run_id = made.body.value(nlohmann::json::json_pointer("/run/info/run_id"), "");
  if (run.run_id.empty()) return {Sent::kRefused, "runs/create: the answer has no run id: is it MLflow?"};
  return {};
}

Outcome MLFlowClient::send(MLFlowRun& run, const MLFlowRequest& request) {
  if (run.run_id.empty()) {
    // Without a run nothing can be sent: what is logged waits, whatever the reason.
    if (auto outcome = create(run); outcome.sent != Sent::kYes) return {Sent::kAway, outcome.cause};
  }
  auto body = request.body;
  body["run_id"] = run.run_id;
  return ask("POST", request.path, body).outcome;
}

}  // namespace rtrain::loggers
