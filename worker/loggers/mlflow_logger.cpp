#include <rtrain/loggers/mlflow_logger.h>

#include <rtrain/context.h>

#include "common/os/file.h"
#include "worker/loggers/hyperparameters.h"
#include "worker/loggers/mlflow_sender.h"
#include "worker/runtime/json.h"

#include <unistd.h>

#include <cctype>
#include <cmath>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <vector>

namespace rtrain {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kParamsMax = 100;        ///< of MLflow, in one request
constexpr std::size_t kParamCharacters = 250;  ///< Lightning's limit; MLflow's own is 6000

/// On any thread. Loggers are on rank 0 only.
void warn(const std::string& text) { std::cerr << "rtrain: warning: " + text + "\n" << std::flush; }

std::string allowed(const std::string& name, const char* extra) {
  std::string out = name;
  for (char& c : out)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && std::string(extra).find(c) == std::string::npos)
      c = '_';
  return out;
}

/// Of the spool's name. The same for every attempt of a job, and for nobody else.
std::string stem(const MLFlowLoggerOptions& options, const std::string& run_name) {
  const auto own =
      run_name.empty() ? std::to_string(os::unix_ms_now()) + "-" + std::to_string(::getpid()) : run_name;
  return "mlflow-" + allowed(options.experiment_name + "-" + own, "-.");
}

std::string read_run_id(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto json = runtime::parse_json(text);
  return json && json->is_object() ? json->value("run_id", "") : "";
}

}  // namespace

struct MLFlowLogger::Impl {
  Impl(MLFlowLoggerOptions given, loggers::MLFlowClient client) : options(std::move(given)) {
    const auto& context = get_context();
    const bool in_job = !context.get_trial_name().empty();
    auto folder = options.spool_dir.empty() ? context.get_trial_dir() : options.spool_dir;
    if (folder.empty()) folder = fs::current_path();
    const auto base = folder / stem(options, context.get_trial_name());
    const fs::path spool = base.string() + ".jsonl", record = base.string() + ".run.json";
    loggers::MLFlowRun run{.experiment_name = options.experiment_name,
                           .artifact_location = options.artifact_location,
                           .run_name = options.run_name,
                           .start_ms = os::unix_ms_now()};
    for (const auto& [key, value] : options.tags) run.tags[key] = value;
    if (!run.run_name && in_job) run.run_name = context.get_trial_name();
    run.run_id = options.run_id ? *options.run_id : in_job ? read_run_id(record) : "";
    const bool continues = !run.run_id.empty();
    sender = std::make_unique<loggers::MLFlowSender>(
        std::move(client), std::move(run), spool, warn, [in_job, record](const std::string& run_id) {
          if (!in_job) return;  // there is no next attempt
          std::ofstream out(record, std::ios::binary | std::ios::trunc);
          out << runtime::dump_json({{"run_id", run_id}}) << '\n';
          out.close();
          if (!out)
            warn("MLFlowLogger: " + record.string() +
                 " cannot be written: another attempt of this job would be "
                 "a run of its own");
        });
    if (continues) sender->add({"runs/update", {{"status", "RUNNING"}}});
  }

  MLFlowLoggerOptions options;
  std::unique_ptr<loggers::MLFlowSender> sender;
};

MLFlowLogger::MLFlowLogger(MLFlowLoggerOptions options) {
  std::string problems;
  const auto uri = loggers::tracking_uri_or_environment(options.tracking_uri);
  std::optional<loggers::MLFlowClient> client;
  try {
    if (uri.empty())
      problems +=
          "\n  tracking_uri is empty and MLFLOW_TRACKING_URI is not set, expected http://host:port of a "
          "server (`mlflow server` starts one)";
    else
      client.emplace(uri);
  } catch (const std::invalid_argument& error) {
    problems += std::string("\n  tracking_uri is ") + error.what();
  }
  if (options.experiment_name.empty()) problems += "\n  experiment_name is empty";
  if (!(std::isfinite(options.finalize_timeout_s) && options.finalize_timeout_s >= 0))
    problems += "\n  finalize_timeout_s is " + runtime::dump_json(options.finalize_timeout_s) +
                ", expected 0 or more seconds";
  if (!problems.empty())
    throw std::invalid_argument("MLFlowLogger: these options cannot be used:" + problems);
  impl_ = std::make_unique<Impl>(std::move(options), std::move(*client));
}
MLFlowLogger::MLFlowLogger(MLFlowLogger&&) noexcept = default;
MLFlowLogger::~MLFlowLogger() = default;

void MLFlowLogger::log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) {
  if (metrics.empty()) return;
  const auto now = os::unix_ms_now();
  auto list = nlohmann::json::array();
  const auto& prefix = impl_->options.prefix;
  for (const auto& [name, value] : metrics)
    list.push_back({{"key", allowed(prefix.empty() ? name : prefix + "-" + name, "_/. -")},
                    {"value", value},
                    {"timestamp", now},
                    {"step", step}});
  impl_->sender->add({"runs/log-batch", {{"metrics", std::move(list)}}});
}

void MLFlowLogger::log_hyperparams(const nlohmann::json& hyperparameters) {
  auto list = nlohmann::json::array();
  const auto send = [&] {
    if (!list.empty())
      impl_->sender->add({"runs/log-batch", {{"params", std::exchange(list, nlohmann::json::array())}}});
  };
  for (const auto& [name, leaf] : loggers::flatten(hyperparameters)) {
    list.push_back(
        {{"key", allowed(name, "_/. -")}, {"value", loggers::text_of(leaf).substr(0, kParamCharacters)}});
    if (list.size() == kParamsMax) send();
  }
  send();
}

void MLFlowLogger::finalize(const std::string& status) {
  const char* word = status == "success" ? "FINISHED" : status == "yielded" ? "SCHEDULED" : "FAILED";
  nlohmann::json body{{"status", word}};
  if (status != "yielded") body["end_time"] = os::unix_ms_now();
  impl_->sender->add({"runs/update", std::move(body)});
  const auto limit =
      std::chrono::milliseconds(static_cast<std::int64_t>(impl_->options.finalize_timeout_s * 1000));
  if (impl_->sender->flush(limit)) return;
  warn("MLFlowLogger: the server does not have all that was logged. The rest goes to " +
       impl_->sender->spool_path().string() +
       (get_context().get_trial_name().empty() ? "" : "; the next attempt of this job sends it") +
       "; rtrain::MLFlowLogger::send_spool() sends it when the server is back");
}

std::string MLFlowLogger::name() const { return impl_->options.experiment_name; }
std::string MLFlowLogger::version() const { return impl_->sender->run_id(); }
fs::path MLFlowLogger::spool_file() const { return impl_->sender->spool_file(); }

void MLFlowLogger::send_spool(const fs::path& file, const std::string& tracking_uri) {
  loggers::Spool spool(file);
  auto run = spool.run();
  loggers::MLFlowClient client(loggers::tracking_uri_or_environment(tracking_uri));
  while (const auto request = spool.next()) {
    if (const auto outcome = client.send(run, *request); outcome.sent != loggers::Sent::kYes)
      throw std::runtime_error("MLFlowLogger: " + file.string() + " is not sent: " + outcome.cause);
    spool.done();
  }
  spool.remove();
}

RTRAIN_REGISTER_OPTIONS(Logger, "MLFlowLogger", MLFlowLogger, MLFlowLoggerOptions, experiment_name, run_name,
                        tracking_uri, tags, prefix, artifact_location, run_id, spool_dir, finalize_timeout_s);

}  // namespace rtrain
