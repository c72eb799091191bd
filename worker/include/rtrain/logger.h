// A destination for logged metrics besides the job's own reports: Lightning's Logger.
#pragma once

#include <rtrain/export.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace rtrain {

/// Called on rank 0 only. A logger lives as long as the Trainer and may serve several runs in sequence.
/// @thread the training thread.
class RTRAIN_API Logger {
 public:
  virtual ~Logger() = default;
  /// The metrics of a training step every log_every_n_steps, of an epoch at its end, of an evaluation at its
  /// end, with "epoch" among them; and what each batch of an evaluation logged on_step, without "epoch".
  /// @param step batches that stepped so far; epoch metrics carry the last step's. In an evaluation's batch:
  /// the
  ///        batches of its loader so far.
  virtual void log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) = 0;
  /// Once a run, before its first metrics, when the module has any.
  virtual void log_hyperparams(const nlohmann::json& /*hyperparameters*/) {}
  /// After each call of log_metrics(): what the logger holds back may go to the disk.
  virtual void save() {}
  /// The end of a run: everything goes to the disk. @param status "success", "failed",
  ///        or "yielded": the job gave its resources back and will go on
  virtual void finalize(const std::string& /*status*/) {}
  /// Where its files are; empty: it has none.
  [[nodiscard]] virtual std::filesystem::path log_dir() const { return {}; }
};

}  // namespace rtrain
