// Runs the epochs of a fit and the batches of each epoch. Order and counters are Lightning's.
#pragma once

#include "worker/loops/batch_feed.h"
#include "worker/loops/batch_source.h"
#include "worker/loops/evaluation_loop.h"
#include "worker/run/run_context.h"
#include "worker/step/graphed_step.h"
#include "worker/step/lr_stepping.h"
#include "worker/step/manual_step.h"
#include "worker/step/training_step.h"

#include <rtrain/trainer.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace rtrain {

class FitLoop {
 public:
  FitLoop(RunContext& run, EvaluationLoop& validation)
      : run_(run),
        validation_(validation),
        step_(run),
        manual_(run),
        lr_stepping_(run),
        feed_(run),
        results_(/*training=*/true) {}

  /// @param make is called now, and again when reload_dataloaders_every_n_epochs says so.
  void set_data(std::function<BatchSource()> make);
  void run();
  /// Visits the batches of an epoch, on the device, as a training_step would get them; what is logged
  /// meanwhile goes nowhere.
  void for_each_batch(const std::function<void(const Batch&)>& body);
  /// One batch, and the step of its accumulation if it is the last of it, which counts nowhere.
  StepOutput try_step(const Batch& batch, const StepPlace& place);
  [[nodiscard]] bool has_data() const { return data_.defined(); }
  /// The steps of this fit go through graphs (TrainerOptions::cuda_graph). Once the optimizers are made.
  void capture_steps(std::shared_ptr<Recorder> recorder);
  /// The graphs go; before what they refer to does.
  void drop_graphs();
  [[nodiscard]] std::int64_t graphed_steps() const { return graphed_ ? graphed_->replays() : graphed_steps_; }

  [[nodiscard]] std::int64_t current_epoch() const { return run_.epochs.current.completed; }
  [[nodiscard]] std::int64_t global_step() const { return run_.optimizer_steps; }
  [[nodiscard]] std::int64_t max_batches() const { return epoch_batches_; }  ///< of the current epoch
  [[nodiscard]] bool is_last_batch() const { return is_last_batch_; }
  [[nodiscard]] bool resumes_within_epoch() const { return resumed_within_epoch_; }
  /// True if it resumes within an epoch, where max_steps or should_stop had ended the run of the checkpoint.
  [[nodiscard]] bool resumes_past_stop() const { return past_stop_; }
  [[nodiscard]] LoggedMetrics& results() { return results_; }
  [[nodiscard]] ManualStep& manual_step() { return manual_; }
  /// What steps the optimizers of this fit. @lifetime of this loop.
  [[nodiscard]] detail::OptimizerDriver& driver() {
    return run_.automatic ? static_cast<detail::OptimizerDriver&>(step_) : manual_;
  }

  /// loop.json's "progress".
  [[nodiscard]] nlohmann::json state() const;
  /// Called before set_data(). A run with another number of ranks resumes at the same sample, because the
  /// position in an epoch also counts samples.
  /// @param retry true for a retry of a job: what stopped it before stops it again.
  void load_state(const nlohmann::json& state, int saved_data_ranks, bool retry);
  /// The generator states for a run that resumes here: the current ones, or those before a validation that
  /// has not finished. States named "unstopped.*" are for a run that continues past a stop, because a stop
  /// validates at a point where no other validation is due.
  [[nodiscard]] std::map<std::string, torch::Tensor> generators() const;
  void start_over();
  /// Gradients of an incomplete accumulation, by parameter name. They differ between ranks. Under manual
  /// optimization those that no step has used.
  [[nodiscard]] std::map<std::string, torch::Tensor> pending_gradients() const;
  void load_pending_gradients(const std::map<std::string, torch::Tensor>& gradients);
  /// Keeps the state of a checkpoint whose run a stop had ended within an epoch, if this run stays there too:
  /// a checkpoint saved again is then identical.
  void keep_cut(std::map<std::string, torch::Tensor> generators,
                std::map<std::string, torch::Tensor> gradients);
  [[nodiscard]] bool is_cut() const { return cut_; }
  /// The places of this rank in streams, for a run that resumes within the epoch; null without streams. They
  /// differ between ranks.
  [[nodiscard]] const nlohmann::json& stream_place() const;
  /// Called before run(), for as many ranks as there were.
  void load_stream_place(nlohmann::json place) { place_ = std::move(place); }

 private:
  /// The part of an epoch that a given number of ranks takes: all of it, or what ranks of another number
  /// left.
  struct Part {
    std::int64_t samples = 0;      ///< taken before, by all ranks of another number together
    std::int64_t first_batch = 0;  ///< batches that each of those ranks took
  };
  /// The next batch: whether this rank has one, and who does.
  struct Turn {
    bool has_batch = true;
    Contributors ranks{};
  };
  [[nodiscard]] bool done() const;
  void run_epoch();
  [[nodiscard]] bool epoch_done() const;
  /// @return false if the epoch has ended.
  bool train_batch(BatchSource::Iterator& batches);
  StepOutput optimize(const Batch& batch, std::int64_t batch_idx, const Turn& turn);
  StepOutput run_graphed(const Batch& batch, const StepPlace& place);
  void warn_unless_finite(const torch::Tensor& loss, std::int64_t batch_idx);
  void require_equal_batches() const;
  [[nodiscard]] BatchSource::Iterator open_data();
  enum class EpochEnd { kFirst, kLast };  ///< which of the ranks' streams ends an epoch
  /// A stream that is padded never leaves a rank without a batch.
  [[nodiscard]] EpochEnd epoch_end() const {
    return run_.plan->join() != nullptr && data_.has_stream() && !data_.pads() ? EpochEnd::kLast
                                                                               : EpochEnd::kFirst;
  }
  [[nodiscard]] bool goes_on(BatchSource::Iterator& batches, std::int64_t taken, EpochEnd end);
  void pad(BatchSource::Iterator& batches) const;
  void require_joinable() const;
  [[nodiscard]] std::int64_t most_of_ranks(std::int64_t own) const;
  void after_batch();
  void load();
  void begin_epoch(Part part);
  void choose_validation_interval();
  [[nodiscard]] int data_ranks() const;
  void share_rest_of_epoch();
  [[nodiscard]] std::int64_t samples_seen() const;

  [[nodiscard]] std::int64_t batches_of_part() const { return batch_.current.ready - part_.first_batch; }
  [[nodiscard]] bool max_steps_reached() const;
  [[nodiscard]] bool can_stop_early() const;
  /// True if should_stop is set on every rank and may take effect. @throws std::runtime_error names the ranks
  /// that do not stop.
  [[nodiscard]] bool stops_early() const;
  [[nodiscard]] bool epoch_exhausted() const {
    return batch_.current.ready == epoch_batches_ || is_last_batch_;
  }
  [[nodiscard]] bool accumulates() const;
  [[nodiscard]] bool validates_in_this_epoch() const;
  [[nodiscard]] bool validation_is_due() const;
  [[nodiscard]] bool validation_is_regular() const;
  [[nodiscard]] bool may_go_further(const nlohmann::json& state) const;
  void step_epoch_schedulers();
  void cut_epoch();

  RunContext& run_;
  EvaluationLoop& validation_;
  TrainingStep step_;
  ManualStep manual_;
  std::unique_ptr<GraphedStep> graphed_;  ///< null: steps are eager
  std::int64_t graphed_steps_ = 0;        ///< of the latest fit, once it is over
  LRStepping lr_stepping_;
  BatchFeed feed_;
  LoggedMetrics results_;
  std::function<BatchSource()> make_data_;
  struct LoadedInEpoch {
    std::int64_t training = 0, validation = 0;
  };
  std::int64_t loaded_in_epoch_ = 0;
  std::optional<LoadedInEpoch> saved_loaded_in_epoch_;
  BatchSource data_;
  std::int64_t max_batches_ = 0;    ///< of a whole epoch, for this number of ranks
  std::int64_t epoch_batches_ = 0;  ///< of the current epoch
  Part part_;
  Turn turn_;
  nlohmann::json place_, place_before_;  ///< in streams: behind the latest batch, and before it
  bool warned_of_stream_end_ = false;
  std::int64_t saved_samples_ = -1;  ///< samples in a checkpoint from within an epoch; -1: not recorded
  int saved_data_ranks_ = 0;
  std::optional<std::int64_t> val_check_batch_;
  LoopProgress batch_;
  bool is_last_batch_ = false;
  bool validated_in_epoch_ = false;
  bool epoch_schedulers_due_ = false;  ///< those that read a metric, after the hooks of the epoch's end
  bool validated_ = false;             ///< the validation after the latest batch has run
  bool resumed_within_epoch_ = false;
  bool warned_of_loss_ = false;
  mutable bool stop_is_agreed_ = false;  ///< should_stop is set on every rank
  bool resumed_after_batch_ = false;     ///< the validation of the latest batch may still be due
  bool stop_validated_ = false;          ///< the latest validation ran for should_stop alone
  bool past_stop_ = false;
  bool cut_ = false;  ///< the latest epoch ended before its last batch
  std::map<std::string, torch::Tensor> generators_at_cut_, gradients_at_cut_;
};

}  // namespace rtrain
