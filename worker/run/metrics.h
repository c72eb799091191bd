// The metrics that steps and hooks log, reduced over an epoch and over the ranks, under Lightning's names.
#pragma once

#include "worker/run/hook.h"
#include "worker/run/log_tape.h"
#include "worker/run/metric_reduction.h"
#include "worker/run/registered_metrics.h"

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

using MetricValues = std::map<std::string, MetricValue>;

/// The metrics of one loop. Values with sync_dist are local to this rank until reduce_step() or
/// reduce_epoch() reduces them.
class LoggedMetrics {
 public:
  explicit LoggedMetrics(bool training) : training_(training) {}

  /// Of several loaders that an evaluation reads in sequence the current one; none: there is one loader, or
  /// the hooks of the end run. What is logged belongs to it, and reductions, views and resets are of its
  /// metrics alone.
  void at_loader(std::optional<std::int64_t> number) { loader_ = number; }

  /// @param options on_step and on_epoch must be set. @throws std::logic_error if the options differ from
  ///        earlier ones.
  void log(Hook hook, const std::string& name, MetricValue value, const LogOptions& options,
           std::int64_t batch_size, Strategy& strategy);
  /// The same of a metric object.
  void log(Hook hook, const std::string& name, Metric& metric, const LogOptions& options) {
    registered_.log(hook, loader_, name, metric, options);
  }
  struct Views {
    MetricValues callback, logged, progress_bar;
  };
  /// Reduces the values logged on_step with sync_dist since the last call. A collective if any are due, and
  /// with `meets` also if none are due but some have been before, so that ranks that log different metrics
  /// detect it here.
  void reduce_step(Strategy& strategy, bool meets);
  /// What this rank has logged in its step, as text for ranks that have no batch; see log_without_batch().
  [[nodiscard]] nlohmann::json logged_in_step() const;
  /// Logs what another rank has, with no weight, so that this rank takes part in the reductions.
  /// @throws std::runtime_error it is a metric object that this rank has never logged.
  void log_without_batch(const nlohmann::json& logged, Strategy& strategy);
  /// The same for the values of the epoch so far; each value is reduced once. `meets`: the end of an epoch,
  /// where all ranks compare their metrics, even if they have none.
  void reduce_epoch(Strategy& strategy, bool meets);
  /// Adds the values of the last step (`on_step`) or of the epoch so far to `views`.
  void add_to(Views& views, bool on_step, Strategy& strategy);
  void reset();
  void reset(Hook hook);
  /// Forgets the metrics themselves: another run may log other ones, or with other options.
  void clear();

  /// The sums of the epoch so far, as a checkpoint within the epoch stores them: "<hook's name>.<name>" ->
  /// [total, weight, is float32, is float64]. Values logged at the end of the epoch are omitted: the resumed
  /// epoch logs them again.
  [[nodiscard]] std::map<std::string, torch::Tensor> state() const;
  /// The sums continue when their metric is logged again.
  void load_state(std::map<std::string, torch::Tensor> state) { resumed_ = std::move(state); }

 private:
  struct Entry {
    Hook hook;
    std::optional<std::int64_t> loader;
    std::string name;                         ///< as it was logged
    std::string full, step_name, epoch_name;  ///< as it is shown
    LogOptions options;
    MetricValue step, total;
    double step_weight = 1;  ///< 0: of a rank that has no batch
    double weight = 0;
    std::optional<MetricValue> computed;
    bool is_reset = true;
    bool step_is_due = false;  ///< not yet reduced over the ranks
    bool in_step = false;      ///< logged since the latest reduction of a step
    bool warned = false;
  };
  [[nodiscard]] static MetricValue compute(Entry& entry, const Strategy& strategy);
  bool training_;
  std::optional<std::int64_t> loader_;
  std::vector<Entry> entries_;
  RegisteredMetrics registered_;
  MetricReduction step_reduction_, epoch_reduction_;
  std::map<std::string, torch::Tensor> resumed_;
};

/// The Trainer's three views of all metrics, and when they are updated: Lightning's logger connector.
class MetricBoard {
 public:
  MetricBoard(Strategy& strategy, std::vector<std::shared_ptr<Logger>> loggers,
              std::int64_t log_every_n_steps)
      : strategy_(strategy), loggers_(std::move(loggers)), log_every_n_steps_(log_every_n_steps) {}

  /// Selects the loop whose metrics log() adds to; null: none.
  void use(LoggedMetrics* active) { active_ = active; }
  void clear();  ///< at the start of a run

  void log(Hook hook, const std::string& name, MetricValue value, const LogOptions& options);
  void log(Hook hook, const std::string& name, Metric& metric, const LogOptions& options);
  /// What is logged from now on goes to `tape` first; null: none.
  void use_tape(LogTape* tape) { tape_ = tape; }
  void on_batch_start(std::int64_t batch_size);
  /// Called after the step and before the end hooks of the batch: reduces the values of the step over the
  /// ranks.
  void step_done();
  /// Before step_done() in a step in which ranks have no batch: they log what rank `first` has. A collective.
  void join_step(bool has_batch, int first);
  void on_batch_end();
  void epoch_end_reached();
  /// The latest values of all metrics, on which decisions of the next epoch may depend.
  [[nodiscard]] nlohmann::json state() const;
  void load_state(const nlohmann::json& state);
  /// Updates the views; a collective if metrics with sync_dist are due at the end of an epoch.
  void refresh();
  void reset_results();

  /// True while the loop runs its first batch; std::nullopt between epochs. Validation within an epoch saves
  /// and restores it.
  [[nodiscard]] std::optional<bool> first_iteration() const { return first_iteration_; }
  void set_first_iteration(std::optional<bool> value) { first_iteration_ = value; }

  [[nodiscard]] const LoggedMetrics::Views& views() const { return views_; }
  /// The metrics of the epoch that the active loop logged.
  [[nodiscard]] MetricValues epoch_metrics();
  /// The active loop's metrics, now. A metric called "step" is the x-axis; without one x is `step`, and the
  /// row carries the epoch.
  void to_loggers(std::int64_t step, std::int64_t epoch);
  /// `values` in the same way.
  void to_loggers(const MetricValues& values, std::int64_t step, std::int64_t epoch);
  /// Into the callbacks' view, and at once to the loggers: what callbacks measure.
  void add(const std::map<std::string, double>& values, std::int64_t step);
  /// The active loop's every log_every_n_steps.
  void step_to_loggers(std::int64_t steps, std::int64_t epoch, bool stopping);
  /// What a batch of an evaluation logged on_step; x counts the loader's batches, and there is no epoch.
  void evaluation_step_to_loggers(std::int64_t batches);

 private:
  /// The options with their defaults in this hook. @throws std::logic_error as LightningModule::log().
  [[nodiscard]] LogOptions settled(Hook hook, const std::string& name, const LogOptions& given) const;
  /// The first value of a new epoch starts the hook's metrics anew.
  void begin_hook(Hook hook);
  void write_row(const MetricValues& logged, std::int64_t step, std::optional<std::int64_t> epoch);

  Strategy& strategy_;
  std::vector<std::shared_ptr<Logger>> loggers_;
  std::int64_t log_every_n_steps_;
  LoggedMetrics* active_ = nullptr;
  LogTape* tape_ = nullptr;
  LoggedMetrics::Views views_;
  std::optional<bool> first_iteration_;
  Hook last_hook_ = Hook::kNone;
  std::int64_t batch_size_ = 1;
};

}  // namespace rtrain
