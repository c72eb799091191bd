// What a sweep came to: Ray's ResultGrid.
#pragma once

#include <rtrain/export.h>
#include <rtrain/result.h>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// A trial: the run of its job, and what the sweep made of it. `error` is there when it FAILED ("failed"), is
/// INVALID ("invalid_hyperparameters") or was CANCELLED ("cancelled"); a trial that was stopped early has
/// none. A trial whose training function was never entered has no run: `path` is empty.
struct RTRAIN_API TrialResult : TrainingResult {
  std::int64_t trial = 0;                            ///< its number, from 0
  std::string state;                                 ///< COMPLETED | PRUNED | FAILED | INVALID | CANCELLED
  nlohmann::json config = nlohmann::json::object();  ///< train_loop_config with its parameters
  nlohmann::json params = nlohmann::json::object();  ///< its parameters by their paths
  std::optional<double> value;                       ///< of the sweep's metric, where the sweep judged it
  double resource = 0;                               ///< at which that was
  std::optional<std::int64_t> rung;                  ///< the last that it came to
  std::string reason;                                ///< of the last decision about it, or its error
};

/// The trials of a sweep that has ended, by number. @thread one thread.
class RTRAIN_API ResultGrid {
 public:
  [[nodiscard]] std::size_t size() const { return trials_.size(); }
  [[nodiscard]] const TrialResult& operator[](std::size_t i) const { return trials_.at(i); }
  [[nodiscard]] auto begin() const { return trials_.begin(); }
  [[nodiscard]] auto end() const { return trials_.end(); }

  /// @param metric  a reported number; default: the sweep's
  /// @param mode    "min" or "max"; default: the sweep's
  /// @param scope   "best": the trial that the sweep ranks first, which is the best of those at the highest
  ///                rung; by another metric or mode that of the best last value there. "last": the best last
  ///                value of all trials (Ray's default). "all": the best value of any report
  /// Trials that failed or are INVALID, and values that are no finite numbers, do not count.
  /// @throws std::runtime_error no trial has a value; std::invalid_argument another mode or scope.
  [[nodiscard]] const TrialResult& get_best_result(const std::string& metric = "",
                                                   const std::string& mode = "",
                                                   const std::string& scope = "best") const;
  [[nodiscard]] std::size_t num_errors() const;  ///< trials that FAILED
  [[nodiscard]] std::size_t num_terminated()
      const;  ///< trials that ended otherwise; INVALID ones are neither
  [[nodiscard]] std::vector<TrainingError> errors() const;  ///< of those that FAILED
  /// One row for each trial: {"trial", "state", "rung", "resource", "reason", "path", "config/lr": ...,
  /// and the metrics of its last report by their names}.
  [[nodiscard]] std::vector<nlohmann::json> get_dataframe() const;

  [[nodiscard]] const std::string& state() const { return state_; }    ///< SUCCEEDED | FAILED | CANCELLED
  [[nodiscard]] const std::string& reason() const { return reason_; }  ///< how the sweep ended

  /// From what a Tuner keeps of a run: {"sweep", "trials"} of `rtrain sweep run -o json`, each trial with its
  /// "config" and the "path" of its run, or null. Reads the folders of the runs.
  /// @throws std::runtime_error it is something else, or a folder cannot be read.
  [[nodiscard]] static ResultGrid from_document(const nlohmann::json& document);

 private:
  std::vector<TrialResult> trials_;
  std::string metric_, mode_, state_, reason_;
  std::optional<std::int64_t> best_;  ///< the trial that the sweep ranks first
};

}  // namespace rtrain
