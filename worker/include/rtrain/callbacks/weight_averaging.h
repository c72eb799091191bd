// Averages of a model's weights over its training: Lightning's WeightAveraging and EMAWeightAveraging.
#pragma once

#include <rtrain/callback.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// A new average, of the one so far, the current value, and how many values the average holds (1 or more).
/// Under a strategy that shards, the tensors are this rank's elements, one-dimensional and possibly none.
using AverageFunction = std::function<torch::Tensor(const torch::Tensor& average,
                                                    const torch::Tensor& current, std::int64_t averaged)>;

struct RTRAIN_API WeightAveragingOptions {
  std::optional<torch::Device> device{};  ///< where the averages are kept; default: where the weights are
  bool use_buffers = true;                ///< false: buffers are not averaged, the latest ones are taken
  AverageFunction avg_fn{};               ///< default: all values weigh the same
};

/// Keeps an average of parameters and buffers over optimizer steps. The module has the averages during each
/// validation within the fit and after training. The first update copies.
///
/// A checkpoint has the averages as its model, for whoever uses it, and the current weights in
/// extra.safetensors, from which fit() goes on. One that was saved with save_weights_only has the current
/// weights. Where a strategy shards the model, each rank averages the elements that it has; the checkpoint is
/// the same.
/// Numbers are those of torch.optim.swa_utils.AveragedModel.
class RTRAIN_API WeightAveraging : public Callback {
 public:
  explicit WeightAveraging(WeightAveragingOptions options = {});

  /// Whether to update after an optimizer step (step_idx, from 0) or an epoch (epoch_idx, from 0); one of
  /// them is given. Default: after every step.
  [[nodiscard]] virtual bool should_update(std::optional<std::int64_t> step_idx,
                                           std::optional<std::int64_t> epoch_idx) const;
  [[nodiscard]] std::int64_t averaged() const { return averaged_; }  ///< updates so far

  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  void on_fit_start(Trainer& trainer, LightningModule& module) override;
  void on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput& output,
                          const Batch& batch, std::int64_t batch_idx) override;
  void on_train_epoch_end(Trainer& trainer, LightningModule& module) override;
  void on_train_end(Trainer& trainer, LightningModule& module) override;
  void on_fit_end(Trainer& trainer, LightningModule& module) override;
  void on_validation_epoch_start(Trainer& trainer, LightningModule& module) override;
  void on_validation_epoch_end(Trainer& trainer, LightningModule& module) override;
  void on_save_checkpoint(Trainer& trainer, LightningModule& module, TrainerCheckpoint& checkpoint) override;
  void on_load_checkpoint(Trainer& trainer, LightningModule& module,
                          const TrainerCheckpoint& checkpoint) override;
  [[nodiscard]] nlohmann::json state_dict() const override;
  void load_state_dict(const nlohmann::json& state) override;

 protected:
  /// Updates averages of floating-point numbers, in place. Default: avg_fn, or equal weights.
  virtual void update(std::vector<torch::Tensor>& averages, const std::vector<torch::Tensor>& current,
                      std::int64_t averaged);

 private:
  void update_from(const Trainer& trainer, const LightningModule& module);
  void swap(Trainer& trainer, LightningModule& module);
  void copy_to(Trainer& trainer, LightningModule& module);

  WeightAveragingOptions options_;
  /// Of this rank's elements; the module's own weights while it has the averages.
  std::map<std::string, torch::Tensor> averages_;
  bool swapped_ = false, is_done_ = false;
  std::int64_t averaged_ = 0;
  std::int64_t latest_step_ = 0, latest_epoch_ = -1;
};

/// Lightning's arguments and defaults.
struct RTRAIN_API EMAWeightAveragingOptions {
  std::optional<torch::Device> device{};
  bool use_buffers = true;
  double decay = 0.999;                   ///< average = decay * average + (1 - decay) * current; 0 to 1
  std::int64_t update_every_n_steps = 1;  ///< at step numbers (from 0) that it divides; 0: not by steps
  std::optional<std::int64_t> update_starting_at_step{};
  std::optional<std::int64_t> update_starting_at_epoch{};  ///< and, from this epoch on, after each epoch
};

/// An exponential moving average.
class RTRAIN_API EMAWeightAveraging : public WeightAveraging {
 public:
  /// @throws std::invalid_argument lists what is out of range.
  explicit EMAWeightAveraging(EMAWeightAveragingOptions options = {});
  [[nodiscard]] bool should_update(std::optional<std::int64_t> step_idx,
                                   std::optional<std::int64_t> epoch_idx) const override;

 protected:
  void update(std::vector<torch::Tensor>& averages, const std::vector<torch::Tensor>& current,
              std::int64_t averaged) override;

 private:
  EMAWeightAveragingOptions options_;
};

}  // namespace rtrain
