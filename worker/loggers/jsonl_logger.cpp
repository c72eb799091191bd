#include <rtrain/loggers/jsonl_logger.h>

#include "common/os/file.h"
#include "worker/loggers/hyperparameters.h"
#include "worker/runtime/json.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace rtrain {

JSONLLogger::JSONLLogger(JSONLLoggerOptions options)
    : folder_(options.save_dir, options.name, options.version), prefix_(options.prefix) {
  if (options.save_dir.empty())
    throw std::invalid_argument("JSONLLogger: save_dir is empty, expected a folder");
}

void JSONLLogger::write(nlohmann::json row, std::int64_t step) {
  if (!out_.is_open())
    out_.open(folder_.create("JSONLLogger") / "metrics.jsonl", std::ios::binary | std::ios::app);
  row["step"] = step;
  row["time"] = static_cast<double>(os::unix_ms_now()) / 1000;
  out_ << runtime::dump_json(row) + "\n" << std::flush;
  if (!out_)
    throw std::runtime_error("JSONLLogger: " + (folder_.path() / "metrics.jsonl").string() + ": " +
                             std::strerror(errno));
}

void JSONLLogger::log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) {
  nlohmann::json row = nlohmann::json::object();
  for (const auto& [name, value] : metrics) row[prefix_.empty() ? name : prefix_ + "-" + name] = value;
  write(std::move(row), step);
}

void JSONLLogger::log_text(const std::string& tag, const std::string& text, std::int64_t step) {
  write({{"text", {{prefix_.empty() ? tag : prefix_ + "-" + tag, text}}}}, step);
}

void JSONLLogger::log_hyperparams(const nlohmann::json& hyperparameters) {
  loggers::write_hparams("JSONLLogger", folder_.create("JSONLLogger"), hyperparameters);
}

RTRAIN_REGISTER_OPTIONS(Logger, "JSONLLogger", JSONLLogger, JSONLLoggerOptions, save_dir, name, version,
                        prefix);

}  // namespace rtrain
