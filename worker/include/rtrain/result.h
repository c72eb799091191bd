// What a run gave: Ray's Result.
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

/// Why a run failed: the first rank that did, with its place.
struct RTRAIN_API TrainingError {
  std::string kind;     ///< exception | exit | signal | load | lost | spawn | lease | timeout; "cancelled"
  std::string message;  ///< "rank 1 on node b: was killed by signal 9 (Killed)"
  std::optional<int> rank;
  std::string node;
  std::vector<std::string> log_tail;  ///< the last lines of that rank's log
};

struct RTRAIN_API TrainingResult {
  nlohmann::json metrics = nlohmann::json::object();  ///< of the latest report
  std::optional<Checkpoint> checkpoint;               ///< the latest
  std::filesystem::path path;                         ///< the run's folder
  std::optional<TrainingError> error;                 ///< nothing when the run succeeded
  /// those kept, with their metrics, best first
  std::vector<std::pair<Checkpoint, nlohmann::json>> best_checkpoints;
  nlohmann::json return_value;  ///< of rank 0's training function; null if it has none

  /// One row a report, oldest first: {"attempt", "report", "time", "metrics": {...}, "checkpoint": name or
  /// null}.
  /// @throws std::runtime_error the file cannot be read.
  [[nodiscard]] std::vector<nlohmann::json> metrics_dataframe() const;
  /// The kept checkpoint with the best `metric` ("max" or "min"); nothing when none has it.
  /// @throws std::invalid_argument another mode.
  [[nodiscard]] std::optional<Checkpoint> get_best_checkpoint(const std::string& metric,
                                                              const std::string& mode) const;
  /// Of a run that ended (or still runs), from its folder. Its error is not known there, nor its return
  /// value; best_checkpoints are newest first.
  /// @throws std::runtime_error no such folder, or no run in it.
  [[nodiscard]] static TrainingResult from_path(const std::filesystem::path& path);
};

#ifndef RTRAIN_BUILDING_SDK  // inside rtrain Result<T> is another thing: a value or an error
using Result = TrainingResult;
#endif

}  // namespace rtrain
