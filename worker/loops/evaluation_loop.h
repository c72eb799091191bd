// One pass over a loader without gradients: validation inside a fit, and validate(), test(), predict().
#pragma once

#include "worker/run/run_context.h"

#include <rtrain/data/data_loader.h>
#include <rtrain/trainer.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rtrain {

class EvaluationLoop {
 public:
  explicit EvaluationLoop(RunContext& run) : run_(run), results_(/*training=*/false) {}

  /// `same_everywhere`: all ranks have the same number of batches, and so the same points within a pass where
  /// they can yield.
  void set_data(DataLoader loader, std::int64_t max_batches, bool same_everywhere);
  [[nodiscard]] std::int64_t max_batches() const { return max_batches_; }
  [[nodiscard]] std::int64_t batches() const { return batches_; }  ///< of the current pass
  /// Evaluates at most `limit` batches (-1: all). @return the metrics that were logged for the epoch.
  MetricValues evaluate(Stage stage, std::int64_t limit = -1);
  [[nodiscard]] bool has_run() const { return has_run_; }
  [[nodiscard]] bool is_ending() const { return is_ending_; }  ///< true within its end hooks
  /// The generator states before the current (or latest) pass of a fit.
  [[nodiscard]] const std::map<std::string, torch::Tensor>& generators_before() const {
    return generators_before_;
  }
  [[nodiscard]] LoggedMetrics& results() { return results_; }
  [[nodiscard]] std::vector<torch::Tensor> take_predictions() { return std::move(predictions_); }

 private:
  RunContext& run_;
  LoggedMetrics results_;
  DataLoader loader_;
  std::int64_t max_batches_ = 0, batches_ = 0;
  LoopProgress batch_;
  std::int64_t seen_batches_ = 0;  ///< since set_data(), without the sanity check: the loggers' x-axis
  bool same_everywhere_ = true, has_run_ = false, is_ending_ = false;
  std::vector<torch::Tensor> predictions_;
  std::map<std::string, torch::Tensor> generators_before_;
};

}  // namespace rtrain
