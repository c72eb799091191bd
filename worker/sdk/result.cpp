#include <rtrain/result.h>

#include "common/base/result.h"
#include "worker/runtime/retention.h"
#include "worker/runtime/run_record.h"

#include <algorithm>
#include <stdexcept>

namespace rtrain {

std::vector<nlohmann::json> TrainingResult::metrics_dataframe() const {
  auto rows = runtime::read_metrics(path.string());
  if (!rows) throw std::runtime_error(rows.error().message());
  return std::move(*rows);
}

std::optional<Checkpoint> TrainingResult::get_best_checkpoint(const std::string& metric,
                                                              const std::string& mode) const {
  if (mode != "max" && mode != "min")
    throw std::invalid_argument("get_best_checkpoint: mode \"" + mode + "\", expected max or min");
  std::vector<proto::CheckpointRecord> records;
  for (const auto& [kept, its_metrics] : best_checkpoints) {
    if (!its_metrics.contains(metric)) continue;
    // Newest first of equals: the order of best_checkpoints stands in for age.
    records.push_back({kept.path().string(), -static_cast<std::int64_t>(records.size()), its_metrics});
  }
  if (records.empty()) return std::nullopt;
  const auto sorted =
      runtime::by_score(records, {.checkpoint_score_attribute = metric, .score_is_max = mode == "max"});
  return Checkpoint(sorted.front().path);
}

TrainingResult TrainingResult::from_path(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) throw std::runtime_error(path.string() + ": no such folder");
  TrainingResult result;
  result.path = std::filesystem::absolute(path).lexically_normal();
  const auto rows = result.metrics_dataframe();
  if (rows.empty() && !std::filesystem::exists(path / "params.json"))
    throw std::runtime_error(path.string() + ": no run of rtrain is in this folder");
  if (!rows.empty()) result.metrics = rows.back().at("metrics");
  std::vector<proto::CheckpointRecord> kept;
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
    if (!row->at("checkpoint").is_string()) continue;
    const auto folder = (result.path / row->at("checkpoint").get<std::string>()).string();
    const bool known = std::any_of(kept.begin(), kept.end(),  // an attempt may write it again
                                   [&](const auto& one) { return one.path == folder; });
    if (!known && std::filesystem::is_directory(folder))
      kept.push_back({folder, -static_cast<std::int64_t>(kept.size()), row->at("metrics")});
  }
  if (!kept.empty()) result.checkpoint.emplace(kept.front().path);
  for (const auto& one : runtime::by_score(kept, runtime::read_checkpoint_config(result.path.string())))
    result.best_checkpoints.emplace_back(Checkpoint(one.path), one.metrics);
  return result;
}

}  // namespace rtrain
