// What steps and hooks log, reduced over an epoch and over the ranks, under Lightning's names.
#pragma once

#include "worker/run/hook.h"
#include "worker/run/metric_reduction.h"

#include <rtrain/lightning_module.h>
#include <rtrain/logger.h>
#include <rtrain/strategies.h>

#include <torch/types.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// A number, or a tensor of no dimensions that nobody has read yet (reading one on a GPU waits for it).
struct MetricValue {
  torch::Tensor tensor;  ///< undefined: it is the number
  double number = 0;
  [[nodiscard]] double item() const;
};
using MetricValues = std::map<std::string, MetricValue>;

/// One loop's metrics. Values with sync_dist are this rank's own until reduce_step() or reduce_epoch() comes
/// to them.
class LoggedMetrics {
 public:
  explicit LoggedMetrics(bool training) : training_(training) {}

  /// @param options on_step and on_epoch are set. @throws std::logic_error other options than before.
  void log(Hook hook, const std::string& name, MetricValue value, const LogOptions& options,
           std::int64_t batch_size, Strategy& strategy);
  struct Views {
    MetricValues callback, logged, progress_bar;
  };
  /// Reduces what was logged on_step with sync_dist since the last time over the ranks. A collective when
  /// there is something, and, where `meets`, also when there is nothing but has been: ranks that log
  /// different metrics find it out here.
  void reduce_step(Strategy& strategy, bool meets);
  /// The same for the epoch so far; once a value. `meets`: the end of an epoch, where all ranks compare what
  /// they have, also nothing.
  void reduce_epoch(Strategy& strategy, bool meets);
  /// Adds the values of the last step, or of the epoch so far, to `views`.
  void add_to(Views& views, bool on_step, Strategy& strategy);
  void reset();
  void reset(Hook hook);

  /// The sums of the epoch so far, as a checkpoint within it keeps them: "<hook's name>.<name>" -> [total,
  /// weight, is float32, is float64]. Without those of the epoch's end: what goes on in the epoch logs them
  /// again.
  [[nodiscard]] std::map<std::string, torch::Tensor> state() const;
  /// The sums go on when their metric is logged again.
  void load_state(std::map<std::string, torch::Tensor> state) { resumed_ = std::move(state); }

 private:
  struct Entry {
    Hook hook;
    std::string name, step_name, epoch_name;
    LogOptions options;
    MetricValue step, total;
    double weight = 0;
    std::optional<MetricValue> computed;
    bool is_reset = true;
    bool step_is_due = false;  ///< to be reduced over the ranks
    bool warned = false;
  };
  [[nodiscard]] static MetricValue compute(Entry& entry, const Strategy& strategy);
  bool training_;
  std::vector<Entry> entries_;
  MetricReduction step_reduction_, epoch_reduction_;
  std::map<std::string, torch::Tensor> resumed_;
};

/// The Trainer's three views of all metrics, and when they change: Lightning's logger connector.
class MetricBoard {
 public:
  MetricBoard(Strategy& strategy, std::vector<std::shared_ptr<Logger>> loggers,
              std::int64_t log_every_n_steps)
      : strategy_(strategy), loggers_(std::move(loggers)), log_every_n_steps_(log_every_n_steps) {}

  /// Which loop's metrics log() goes to; null: none.
  void use(LoggedMetrics* active) { active_ = active; }
  void clear();  ///< a new run

  void log(Hook hook, const std::string& name, MetricValue value, const LogOptions& options);
  void on_batch_start(std::int64_t batch_size);
  /// after the model's step, before the hooks of the batch's end: the values of the step are those of all
  /// ranks
  void step_done();
  void on_batch_end();
  void epoch_end_reached();
  /// The latest values of all metrics, which decisions of the next epoch may be made by.
  [[nodiscard]] nlohmann::json state() const;
  void load_state(const nlohmann::json& state);
  /// brings the views up to date; collective when metrics with sync_dist are due at the end of an epoch
  void refresh();
  void reset_results();

  /// Whether the loop runs its first batch: none between epochs. Validation inside an epoch puts it aside.
  [[nodiscard]] std::optional<bool> first_iteration() const { return first_iteration_; }
  void set_first_iteration(std::optional<bool> value) { first_iteration_ = value; }

  [[nodiscard]] const LoggedMetrics::Views& views() const { return views_; }
  /// The active loop's logged metrics of the epoch.
  [[nodiscard]] MetricValues epoch_metrics();
  /// The active loop's metrics, now. A metric called "step" is the x-axis; without one x is `step`, and the
  /// row carries the epoch.
  void to_loggers(std::int64_t step, std::int64_t epoch);
  /// The same every log_every_n_steps.
  void step_to_loggers(std::int64_t steps, std::int64_t epoch, bool stopping);
  /// What a batch of an evaluation logged on_step; x counts the loader's batches, and there is no epoch.
  void evaluation_step_to_loggers(std::int64_t batches);

 private:
  void write_row(const MetricValues& logged, std::int64_t step, std::optional<std::int64_t> epoch);

  Strategy& strategy_;
  std::vector<std::shared_ptr<Logger>> loggers_;
  std::int64_t log_every_n_steps_;
  LoggedMetrics* active_ = nullptr;
  LoggedMetrics::Views views_;
  std::optional<bool> first_iteration_;
  Hook last_hook_ = Hook::kNone;
  std::int64_t batch_size_ = 1;
};

}  // namespace rtrain
