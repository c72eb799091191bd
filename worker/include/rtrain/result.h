// The outcome of a run: Ray's Result.
#pragma once

#include <rtrain/context.h>
#include <rtrain/export.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// Why a run failed: the first rank that failed, and where it ran.
struct RTRAIN_API TrainingError {
  std::string kind;     ///< of docs/reference/errors.md: exception, exit, signal, ...; or "cancelled"
  std::string message;  ///< "rank 1 on node b: was killed by signal 9 (Killed)"
  std::optional<int> rank;
  std::string node;
  std::vector<std::string> log_tail;  ///< the last lines of that rank's log, at most 20
};

/// The metrics, checkpoints and error of a run, from TorchTrainer::fit() or from the folder of a run.
struct RTRAIN_API TrainingResult {
  nlohmann::json metrics = nlohmann::json::object();  ///< of the latest report
  std::optional<Checkpoint> checkpoint;               ///< the latest one
  std::filesystem::path path;                         ///< the run's folder
  std::optional<TrainingError> error;                 ///< absent if the run succeeded
  /// the checkpoints kept, with their metrics, best first
  std::vector<std::pair<Checkpoint, nlohmann::json>> best_checkpoints;
  nlohmann::json return_value;  ///< of rank 0's training function; null if it returns nothing

  /// One row per report, oldest first: {"attempt", "report", "time", "metrics": {...}, "checkpoint": name or
  /// null}.
  /// @throws std::runtime_error if the file cannot be read.
  [[nodiscard]] std::vector<nlohmann::json> metrics_dataframe() const;
  /// The kept checkpoint with the best `metric`; `mode` is "max" or "min". std::nullopt if no checkpoint has
  /// the metric.
  /// @throws std::invalid_argument for another mode.
  [[nodiscard]] std::optional<Checkpoint> get_best_checkpoint(const std::string& metric,
                                                              const std::string& mode) const;
  /// Reads the result of a run, ended or still running, from its folder. The folder does not contain the
  /// error or the return value.
  /// @throws std::runtime_error if the folder does not exist or does not contain a run.
  [[nodiscard]] static TrainingResult from_path(const std::filesystem::path& path);
};

#ifndef RTRAIN_BUILDING_SDK  // within rtrain, Result<T> is a different type: a value or an error
/// Ray Train's name.
using Result = TrainingResult;
#endif

}  // namespace rtrain
