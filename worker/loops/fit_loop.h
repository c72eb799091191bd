// Epochs of training, and the batches of one epoch. Order and counters are Lightning's.
#pragma once

#include "worker/loops/evaluation_loop.h"
#include "worker/run/run_context.h"
#include "worker/step/lr_stepping.h"
#include "worker/step/training_step.h"

#include <rtrain/data/data_loader.h>
#include <rtrain/trainer.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace rtrain {

class FitLoop {
 public:
  FitLoop(RunContext& run, EvaluationLoop& validation)
      : run_(run), validation_(validation), step_(run), lr_stepping_(run), results_(/*training=*/true) {}

  void set_data(DataLoader loader);
  void run();

  [[nodiscard]] std::int64_t current_epoch() const { return run_.epochs.current.completed; }
  [[nodiscard]] std::int64_t epochs_processed() const { return run_.epochs.current.processed; }
  [[nodiscard]] std::int64_t global_step() const { return steps_; }
  [[nodiscard]] std::int64_t max_batches() const { return epoch_batches_; }  ///< of the epoch that runs
  [[nodiscard]] bool is_last_batch() const { return is_last_batch_; }
  [[nodiscard]] bool resumes_within_epoch() const { return resumed_within_epoch_; }
  /// Goes on where max_steps or should_stop had ended the checkpoint's run within an epoch.
  [[nodiscard]] bool resumes_past_stop() const { return past_stop_; }
  [[nodiscard]] LRStepping& lr_stepping() { return lr_stepping_; }
  [[nodiscard]] LoggedMetrics& results() { return results_; }

  /// loop.json's "progress".
  [[nodiscard]] nlohmann::json state() const;
  /// Before set_data(). Another number of ranks goes on at the same sample: a place in an epoch counts
  /// samples, too.
  /// @param retry of a job: what had stopped it stops it again.
  void load_state(const nlohmann::json& state, int saved_world_size, bool retry);
  /// Generators that a run draws from which goes on here: those of now, or from before a validation that is
  /// not through. The ones named "unstopped.*" are for a run that goes on past a stop: a stop validates where
  /// nothing else would.
  [[nodiscard]] std::map<std::string, torch::Tensor> generators() const;
  void start_over();
  /// Gradients of an accumulation that is not complete, by parameter name; they belong to this rank.
  [[nodiscard]] std::map<std::string, torch::Tensor> pending_gradients() const;
  void load_pending_gradients(const std::map<std::string, torch::Tensor>& gradients);
  /// Of a checkpoint whose run a stop had ended within an epoch, when this one stays there: saved again, it
  /// is the same.
  void keep_cut(std::map<std::string, torch::Tensor> generators,
                std::map<std::string, torch::Tensor> gradients);
  [[nodiscard]] bool is_cut() const { return cut_; }

 private:
  /// Of an epoch, what one number of ranks takes: the whole, or what others left of it.
  struct Part {
    std::int64_t samples = 0;      ///< that ranks of another number took before, together
    std::int64_t first_batch = 0;  ///< and the batches that each of them took
  };
  [[nodiscard]] bool done() const;
  void run_epoch();
  [[nodiscard]] bool epoch_done() const;
  /// @return false: nothing more in this epoch.
  bool train_batch(DataLoader::Iterator& batches);
  torch::Tensor optimize(const Batch& batch, std::int64_t batch_idx);
  void warn_unless_finite(const torch::Tensor& loss, std::int64_t batch_idx);
  void require_equal_batches() const;
  void after_batch();
  void begin_epoch(Part part);
  void choose_validation_interval();
  void share_rest_of_epoch();
  [[nodiscard]] std::int64_t samples_seen() const;

  [[nodiscard]] std::int64_t batches_of_part() const { return batch_.current.ready - part_.first_batch; }
  [[nodiscard]] bool max_steps_reached() const;
  [[nodiscard]] bool can_stop_early() const;
  /// should_stop holds, and every rank has it. @throws std::runtime_error names the ranks that go on.
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
  LRStepping lr_stepping_;
  LoggedMetrics results_;
  DataLoader loader_;
  std::int64_t max_batches_ = 0;    ///< of a whole epoch with this number of ranks
  std::int64_t epoch_batches_ = 0;  ///< of the one that runs
  Part part_;
  std::int64_t saved_samples_ = -1;  ///< of a checkpoint from within an epoch; -1: it does not say
  int saved_world_size_ = 0;
  std::optional<std::int64_t> val_check_batch_;
  LoopProgress batch_;
  std::int64_t steps_ = 0;  ///< optimizer steps: global_step
  bool is_last_batch_ = false;
  bool validated_in_epoch_ = false;
  bool epoch_schedulers_due_ = false;  ///< those that read a metric, after the hooks of the epoch's end
  bool validated_ = false;             ///< the validation after the latest batch is done
  bool resumed_within_epoch_ = false;
  bool warned_of_loss_ = false;
  mutable bool stop_is_agreed_ = false;  ///< every rank has should_stop
  bool resumed_after_batch_ = false;     ///< the latest batch's validation may still be due
  bool stop_validated_ = false;          ///< the latest validation ran for should_stop alone
  bool past_stop_ = false;
  bool cut_ = false;  ///< the latest epoch ended before its last batch
  std::map<std::string, torch::Tensor> generators_at_cut_, gradients_at_cut_;
};

}  // namespace rtrain
