// The user's model with its steps and hooks: Lightning's LightningModule.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/data/data_loader.h>
#include <rtrain/export.h>
#include <rtrain/optim.h>

#include <torch/nn/module.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

class Trainer;
struct TrainerCheckpoint;
struct Attachment;  // links a Trainer to the module it runs

/// What a run is doing. setup() and teardown() receive kFit, kValidate, kTest or kPredict.
enum class Stage { kFit, kSanityCheck, kTrain, kValidate, kTest, kPredict };

enum class ReduceFx { kMean, kSum, kMin, kMax };

/// Lightning's arguments of log(). on_step and on_epoch default by hook: training_step and the training batch
/// hooks log on_step, all others on_epoch. If both are set, the metric is named `name_step` and `name_epoch`.
struct RTRAIN_API LogOptions {
  std::optional<bool> on_step{};
  std::optional<bool> on_epoch{};
  bool prog_bar = false;
  bool logger = true;
  ReduceFx reduce_fx = ReduceFx::kMean;  ///< over the steps of an epoch, and over the ranks with sync_dist
  bool sync_dist = false;                ///< reduce over all ranks; every rank must then log the metric
  /// weight of this value in the epoch's mean; default: Batch::size()
  std::optional<std::int64_t> batch_size{};
  bool rank_zero_only = false;  ///< only rank 0 logs it; it is never reduced over ranks
};

/// The Trainer calls the steps and hooks in Lightning's order (tests/golden/hooks), callbacks before the
/// module, and runs backward and the optimizer.
/// @thread the training thread only. @lifetime the Trainer keeps a module alive only if it was passed as a
///        shared_ptr.
class RTRAIN_API LightningModule : public torch::nn::Module {
 public:
  LightningModule() = default;
  ~LightningModule() override;
  // A copied or moved module has the same layers and is not attached to a Trainer.
  LightningModule(const LightningModule& other) : torch::nn::Module(other) {}
  LightningModule(LightningModule&& other) noexcept : torch::nn::Module(std::move(other)) {}
  LightningModule& operator=(const LightningModule&) = delete;

  // ---- steps ------------------------------------------------------------------------------------
  /// @param batch on device(). @return the loss, a scalar; undefined: this batch contributes no gradients.
  virtual torch::Tensor training_step(const Batch& batch, std::int64_t batch_idx);
  /// The returned tensor is passed only to the on_*_batch_end hooks; it may be undefined.
  virtual torch::Tensor validation_step(const Batch& batch, std::int64_t batch_idx);
  virtual torch::Tensor test_step(const Batch& batch, std::int64_t batch_idx);
  virtual torch::Tensor predict_step(const Batch& batch, std::int64_t batch_idx);
  /// Called once per fit, after the parameters are on their device. Returns exactly one optimizer.
  virtual Optimizers configure_optimizers();

  // ---- logging ----------------------------------------------------------------------------------
  /// Lightning's log(). Cheap: a tensor is stored detached, and read only when its value is needed.
  /// @param value a tensor of one element, or a number.
  /// @throws std::logic_error in a hook that cannot log (on_fit_start, on_train_end, ...), with on_step and
  ///        on_epoch both false, with on_step in an epoch hook, or for a name logged twice in one hook with
  ///        different options.
  void log(const std::string& name, const torch::Tensor& value, const LogOptions& options = {});
  void log(const std::string& name, double value, const LogOptions& options = {});
  void log_dict(const std::map<std::string, torch::Tensor>& values, const LogOptions& options = {});
  void log_dict(const std::map<std::string, double>& values, const LogOptions& options = {});

  // ---- where it is ------------------------------------------------------------------------------
  /// @throws std::logic_error if the module is not attached to a Trainer.
  [[nodiscard]] Trainer& trainer() const;
  [[nodiscard]] std::int64_t current_epoch() const;  ///< 0 without a Trainer
  [[nodiscard]] std::int64_t global_step() const;    ///< optimizer steps so far; 0 without a Trainer
  /// the device of the first parameter or buffer; the CPU if there is neither
  [[nodiscard]] torch::Device device() const;

  // ---- data -------------------------------------------------------------------------------------
  /// Used if fit(), validate(), test() or predict() is called without a loader.
  virtual DataLoader train_dataloader() { return {}; }
  virtual DataLoader val_dataloader() { return {}; }
  virtual DataLoader test_dataloader() { return {}; }
  virtual DataLoader predict_dataloader() { return {}; }
  virtual Batch on_before_batch_transfer(Batch batch) { return batch; }
  virtual Batch transfer_batch_to_device(Batch batch, torch::Device device) { return batch.to(device); }
  virtual Batch on_after_batch_transfer(Batch batch) { return batch; }

  // ---- hooks ------------------------------------------------------------------------------------
  virtual void prepare_data() {}  ///< on local rank 0 only; the other ranks wait for it
  virtual void setup(Stage) {}
  virtual void teardown(Stage) {}
  virtual void configure_model() {}
  virtual void on_fit_start() {}
  virtual void on_fit_end() {}
  virtual void on_train_start() {}
  virtual void on_train_end() {}
  virtual void on_train_epoch_start() {}
  virtual void on_train_epoch_end() {}
  /// @return -1 to skip the rest of the epoch, including this batch.
  virtual int on_train_batch_start(const Batch&, std::int64_t /*batch_idx*/) { return 0; }
  virtual void on_train_batch_end(const torch::Tensor& /*loss*/, const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_before_zero_grad(Optimizer&) {}
  virtual void on_before_backward(const torch::Tensor& /*loss*/) {}
  virtual void on_after_backward() {}
  virtual void on_before_optimizer_step(Optimizer&) {}
  /// Steps one scheduler. @param metric what its configuration monitors; nullopt: it monitors nothing.
  virtual void lr_scheduler_step(LRScheduler& scheduler, std::optional<double> metric);
  virtual void on_validation_model_zero_grad();  ///< clears the gradients
  virtual void on_validation_model_eval();       ///< eval mode
  virtual void on_validation_model_train();      ///< restores the previous mode of each submodule
  virtual void on_validation_start() {}
  virtual void on_validation_end() {}
  virtual void on_validation_epoch_start() {}
  virtual void on_validation_epoch_end() {}
  virtual void on_validation_batch_start(const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_validation_batch_end(const torch::Tensor& /*output*/, const Batch&,
                                       std::int64_t /*batch_idx*/) {}
  virtual void on_test_model_eval();
  virtual void on_test_model_train();
  virtual void on_test_start() {}
  virtual void on_test_end() {}
  virtual void on_test_epoch_start() {}
  virtual void on_test_epoch_end() {}
  virtual void on_test_batch_start(const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_test_batch_end(const torch::Tensor& /*output*/, const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_predict_model_eval();
  virtual void on_predict_start() {}
  virtual void on_predict_end() {}
  virtual void on_predict_epoch_start() {}
  virtual void on_predict_epoch_end() {}
  virtual void on_predict_batch_start(const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_predict_batch_end(const torch::Tensor& /*output*/, const Batch&,
                                    std::int64_t /*batch_idx*/) {}
  /// Write and read the `module` part of the checkpoint.
  virtual void on_save_checkpoint(TrainerCheckpoint&) {}
  virtual void on_load_checkpoint(const TrainerCheckpoint&) {}

 private:
  friend class Trainer;
  friend struct Attachment;
  void restore_modes();
  std::shared_ptr<Attachment> attachment_;
  /// train or eval mode of each submodule before evaluation
  std::vector<std::pair<torch::nn::Module*, bool>> modes_;
};

}  // namespace rtrain
