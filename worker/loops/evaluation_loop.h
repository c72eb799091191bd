// One pass over one or several loaders without gradients: validation inside a fit, and validate(), test(),
// predict().
#pragma once

#include "worker/loops/batch_feed.h"
#include "worker/loops/batch_source.h"
#include "worker/run/run_context.h"
#include "worker/step/staged_pass.h"

#include <rtrain/trainer.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace rtrain {

struct EvaluationData {
  std::vector<BatchSource> sources;  ///< read in sequence
  /// all ranks have the same number of batches, and so the same points within a pass where they can yield
  bool same_everywhere = true;
};

class EvaluationLoop {
 public:
  explicit EvaluationLoop(RunContext& run)
      : run_(run), staged_(run), feed_(run), results_(/*training=*/false) {}

  using MakeData = std::function<EvaluationData()>;
  /// @param make is called now, and within a fit again when reload_dataloaders_every_n_epochs says so; null:
  ///        there is no data.
  void set_data(MakeData make);
  [[nodiscard]] std::int64_t max_batches() const { return max_batches_; }  ///< of all loaders
  [[nodiscard]] std::int64_t batches() const { return batches_; }          ///< of the loader that is read
  /// Evaluates at most `limit` batches of each loader (-1: all). @return the metrics that were logged for the
  /// epoch; the names tell the loaders apart.
  MetricValues evaluate(Stage stage, std::int64_t limit = -1);
  /// The epoch in which the data was made. A run that resumes makes it anew as the one before would have.
  [[nodiscard]] std::int64_t loaded_in_epoch() const { return loaded_in_epoch_; }
  void set_loaded_in_epoch(std::int64_t epoch) { loaded_in_epoch_ = epoch; }
  [[nodiscard]] bool has_run() const { return has_run_; }
  [[nodiscard]] bool is_ending() const { return is_ending_; }  ///< true within its end hooks
  /// The generator states before the current (or latest) pass of a fit.
  [[nodiscard]] const std::map<std::string, torch::Tensor>& generators_before() const {
    return generators_before_;
  }
  [[nodiscard]] LoggedMetrics& results() { return results_; }
  /// The places in the data set of the samples of batch `batch_idx` of the loader that is read.
  /// @throws std::out_of_range there is no such batch; std::logic_error nothing is read, or several loaders
  ///         together.
  [[nodiscard]] const std::vector<std::int64_t>& samples_of(std::int64_t batch_idx);
  /// What the latest evaluation returned, by loader; each has what the hooks of the end logged.
  [[nodiscard]] const std::vector<MetricValues>& by_loader() const { return by_loader_; }
  void keep_predictions(const PredictionArguments& how) { predicts_ = how; }
  [[nodiscard]] Predictions take_predictions() { return std::move(predictions_); }

 private:
  struct Loader {
    BatchSource batches;
    std::int64_t seen = 0;  ///< batches since set_data(), without the sanity check: the loggers' x-axis
  };
  void load();
  void keep_prediction(const torch::Tensor& output);
  std::int64_t read(Loader& loader, Stage stage, std::int64_t done);
  [[nodiscard]] bool everyone_has(bool mine);

  RunContext& run_;
  StagedPass staged_;
  BatchFeed feed_;
  LoggedMetrics results_;
  MakeData make_;
  const BatchSource* reads_ = nullptr;              ///< null: nothing
  std::vector<std::vector<std::int64_t>> samples_;  ///< by batch, of what is read; once they are asked for
  std::int64_t loaded_in_epoch_ = 0;
  std::vector<Loader> loaders_;
  std::int64_t max_batches_ = 0, batches_ = 0;
  bool same_everywhere_ = true, has_run_ = false, is_ending_ = false, warned_of_end_ = false;
  std::vector<MetricValues> by_loader_;
  PredictionArguments predicts_;
  Predictions predictions_;
  std::map<std::string, torch::Tensor> generators_before_;
};

}  // namespace rtrain
