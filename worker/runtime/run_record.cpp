#include "worker/runtime/run_record.h"

#include "common/os/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace rtrain::runtime {

Result<Done> write_params(const std::string& run_dir, const proto::Json& train_loop_config) {
  if (auto made = os::make_dirs(run_dir); !made) return made;
  const std::string path = run_dir + "/params.json";
  if (::access(path.c_str(), F_OK) == 0) return ok();
  std::ofstream file(path);  // for people: not worth an fsync before the first step
  file << proto::dump_json_pretty(train_loop_config) << '\n';
  file.close();
  if (!file) return fail_errno("write " + path, errno);
  return ok();
}

Result<Done> write_checkpoint_config(const std::string& run_dir, const proto::CheckpointConfig& config) {
  if (auto made = os::make_dirs(run_dir); !made) return made;
  proto::Json document{{"checkpoint_score_attribute", config.checkpoint_score_attribute},
                       {"checkpoint_score_order", config.score_is_max ? "max" : "min"}};
  if (config.num_to_keep) document["num_to_keep"] = *config.num_to_keep;
  const std::string path = run_dir + "/run_config.json";
  std::ofstream file(path);  // not worth an fsync before the first step, either
  file << proto::dump_json_pretty({{"checkpoint_config", document}}) << '\n';
  file.close();
  if (!file) return fail_errno("write " + path, errno);
  return ok();
}

proto::CheckpointConfig read_checkpoint_config(const std::string& run_dir) {
  proto::CheckpointConfig config;
  const auto text = os::read_file(run_dir + "/run_config.json");
  const auto document = text ? proto::parse_json(*text) : Result<proto::Json>(text.error());
  if (!document || !document->is_object()) return config;
  const auto saved = document->value("checkpoint_config", proto::Json::object());
  const auto text_at = [&](const char* key) {
    const auto found = saved.find(key);
    return found != saved.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  config.checkpoint_score_attribute = text_at("checkpoint_score_attribute");
  config.score_is_max = text_at("checkpoint_score_order") != "min";
  return config;
}

std::string metrics_line(const std::string& run_dir, const proto::RankReport& report) {
  proto::Json checkpoint;
  if (report.checkpoint) {
    const std::filesystem::path path(report.checkpoint->path);
    checkpoint =
        path.parent_path() == std::filesystem::path(run_dir) ? path.filename().string() : path.string();
  }
  return proto::dump_json({{"attempt", report.key.attempt.value()},
                           {"report", report.seq},
                           {"time", proto::rfc3339(report.time_ms)},
                           {"metrics", report.metrics},
                           {"checkpoint", checkpoint}}) +
         "\n";
}

Result<Done> append_metrics(const std::string& run_dir, const proto::RankReport& report) {
  return append_metrics_line(run_dir, metrics_line(run_dir, report));
}

Result<Done> append_metrics_line(const std::string& run_dir, const std::string& line) {
  const std::string path = run_dir + "/metrics.jsonl";
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return fail_errno("open " + path, errno);
  const auto written = ::write(fd, line.data(), line.size());
  const int error = written < 0 ? errno : ENOSPC;  // a short write to a file: no room for the rest
  ::close(fd);
  if (written != static_cast<ssize_t>(line.size())) return fail_errno("write " + path, error);
  return ok();
}

Result<std::vector<proto::Json>> read_metrics(const std::string& run_dir) {
  const std::string path = run_dir + "/metrics.jsonl";
  auto text = os::read_file(path, std::size_t{1} << 30);
  if (!text) {
    if (text.error().code() == Errc::kNotFound) return std::vector<proto::Json>{};
    return text.error();
  }
  std::vector<proto::Json> rows;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    auto row = proto::parse_json(line);
    if (!row && lines.eof()) break;
    if (!row) return row.error().in(path + " line " + std::to_string(rows.size() + 1));
    rows.push_back(with_numbers(std::move(*row)));
  }
  return rows;
}

proto::Json with_numbers(proto::Json value) {
  double number = 0;
  if (value.is_string() && proto::json_number(value, number)) return number;
  if (value.is_structured())
    for (auto& item : value) item = with_numbers(std::move(item));
  return value;
}

}  // namespace rtrain::runtime
