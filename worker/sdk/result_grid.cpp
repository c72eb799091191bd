#include <rtrain/result_grid.h>

#include "proto/api/api.h"
#include "worker/runtime/run_record.h"
#include "worker/sdk/grid_ranking.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

const nlohmann::json& part_of(const nlohmann::json& document, const char* key) {
  const auto found = document.is_object() ? document.find(key) : document.end();
  if (found == document.end())
    throw std::runtime_error(std::string("rtrain sweep run gave a document without \"") + key +
                             "\": is it of the same version as this SDK?");
  return *found;
}

TrialResult trial_result(const nlohmann::json& document) {
  const auto doc = document.get<proto::TrialDoc>();
  TrialResult result;
  // Rank 0 writes params.json before it enters the training function.
  if (const auto path = document.find("path"); path != document.end() && path->is_string())
    if (const std::filesystem::path run(path->get<std::string>());
        doc.state == "COMPLETED" || std::filesystem::exists(run / "params.json"))
      static_cast<TrainingResult&>(result) = TrainingResult::from_path(run);
  result.trial = doc.trial;
  result.state = doc.state;
  result.params = doc.params;
  if (const auto config = document.find("config"); config != document.end()) result.config = *config;
  result.value = doc.value;
  result.resource = doc.resource;
  result.rung = doc.rung;
  result.reason = doc.reason;
  const char* kind = doc.state == "FAILED"      ? "failed"
                     : doc.state == "INVALID"   ? proto::kInvalidHyperparameters.data()
                     : doc.state == "CANCELLED" ? "cancelled"
                                                : nullptr;
  if (kind != nullptr) result.error = TrainingError{kind, doc.reason, std::nullopt, {}, {}};
  return result;
}

/// NaN where a report does not have it as a number; nothing where no report has it.
std::vector<double> values_of(const nlohmann::json& metrics, const std::string& metric) {
  const auto found = metrics.find(metric);
  if (found == metrics.end() || !found->is_number()) return {};
  return {found->get<double>()};
}

sdk::GridEntry entry_of(const TrialResult& trial, const std::string& metric, sdk::GridScope scope) {
  sdk::GridEntry entry;
  entry.counts = trial.state != "FAILED" && trial.state != "INVALID";
  entry.rung = trial.rung.value_or(-1);
  if (!entry.counts) return entry;
  if (scope != sdk::GridScope::kAll) {
    entry.values = values_of(trial.metrics, metric);
  } else if (!trial.path.empty()) {
    for (const auto& row : trial.metrics_dataframe())
      for (const double value : values_of(runtime::with_numbers(row.at("metrics")), metric))
        entry.values.push_back(value);
  }
  return entry;
}

}  // namespace

ResultGrid ResultGrid::from_document(const nlohmann::json& document) {
  ResultGrid grid;
  try {
    const auto sweep = part_of(document, "sweep").get<proto::SweepDoc>();
    grid.metric_ = sweep.metric;
    grid.mode_ = sweep.mode;
    grid.state_ = sweep.state;
    grid.reason_ = sweep.reason;
    grid.best_ = sweep.best_trial;
    for (const auto& trial : part_of(document, "trials")) grid.trials_.push_back(trial_result(trial));
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error(
        std::string("rtrain sweep run gave a document that this SDK does not understand: ") + error.what());
  }
  std::ranges::sort(grid.trials_, {}, &TrialResult::trial);
  return grid;
}

const TrialResult& ResultGrid::get_best_result(const std::string& metric, const std::string& mode,
                                               const std::string& scope) const {
  const auto& by = metric.empty() ? metric_ : metric;
  const auto& in = mode.empty() ? mode_ : mode;
  const bool maximize = sdk::grid_maximizes(in);
  const auto among = sdk::grid_scope(scope);
  if (among == sdk::GridScope::kBest && by == metric_ && in == mode_) {
    const auto found = best_ ? std::ranges::find(trials_, *best_, &TrialResult::trial) : trials_.end();
    if (found != trials_.end()) return *found;
  } else {
    std::vector<sdk::GridEntry> entries;
    for (const auto& trial : trials_) entries.push_back(entry_of(trial, by, among));
    if (const auto best = sdk::best_entry(entries, among, maximize)) return trials_[*best];
  }
  throw std::runtime_error("get_best_result: no trial of " + std::to_string(trials_.size()) +
                           " has a value of " + by + "; the sweep is " + state_ + ": " + reason_);
}

std::size_t ResultGrid::num_errors() const {
  return static_cast<std::size_t>(std::ranges::count(trials_, "FAILED", &TrialResult::state));
}

std::size_t ResultGrid::num_terminated() const {
  const auto invalid = std::ranges::count(trials_, "INVALID", &TrialResult::state);
  return trials_.size() - num_errors() - static_cast<std::size_t>(invalid);
}

std::vector<TrainingError> ResultGrid::errors() const {
  std::vector<TrainingError> all;
  for (const auto& trial : trials_)
    if (trial.state == "FAILED" && trial.error) all.push_back(*trial.error);
  return all;
}

std::vector<nlohmann::json> ResultGrid::get_dataframe() const {
  std::vector<nlohmann::json> rows;
  for (const auto& trial : trials_) {
    auto row = trial.metrics;
    for (const auto& [path, value] : trial.params.items()) row["config/" + path] = value;
    row["trial"] = trial.trial;
    row["state"] = trial.state;
    row["rung"] = trial.rung ? nlohmann::json(*trial.rung) : nlohmann::json();
    row["resource"] = trial.resource;
    row["reason"] = trial.reason;
    row["path"] = trial.path.string();
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace rtrain
