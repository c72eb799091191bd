// The user's model, its steps and its hooks: Lightning's LightningModule.
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
struct Attachment;  // the tie between one Trainer and the module it runs

/// What a run is doing. setup() and teardown() get kFit, kValidate, kTest or kPredict.
enum class Stage { kFit, kSanityCheck, kTrain, kValidate, kTest, kPredict };

enum class ReduceFx { kMean, kSum, kMin, kMax };

/// Lightning's arguments of log(). on_step and on_epoch left out take the hook's default: in training_step
/// and the training batch hooks on_step, elsewhere on_epoch. With both on the metric is called `name_step`
/// and `name_epoch`.
struct RTRAIN_API LogOptions {
  std::optional<bool> on_step{};
  std::optional<bool> on_epoch{};
  bool prog_bar = false;
  bool logger = true;
  ReduceFx reduce_fx = ReduceFx::kMean;  ///< over the steps of an epoch; with sync_dist over the ranks, too
  bool sync_dist = false;                ///< reduce over all ranks; every rank must log then
  /// weight of this value in the epoch's mean; left out: Batch::size()
  std::optional<std::int64_t> batch_size{};
  bool rank_zero_only = false;  ///< only rank 0 logs it: never synced
};

/// Gradients, steps and hooks are called by the Trainer, in Lightning's order (tests/golden/hooks), callbacks
/// before the module.
/// @thread the training thread only. @lifetime the Trainer keeps no module alive but one handed over as a
/// shared_ptr.
class RTRAIN_API LightningModule : public torch::nn::Module {
 public:
  LightningModule() = default;
  ~LightningModule() override;
  // A copy or a moved module has the same layers and belongs to no Trainer yet.
  LightningModule(const LightningModule& other) : torch::nn::Module(other) {}
  LightningModule(LightningModule&& other) noexcept : torch::nn::Module(std::move(other)) {}
  LightningModule& operator=(const LightningModule&) = delete;

  // ---- steps ------------------------------------------------------------------------------------
  /// @param batch on device(). @return the loss, a scalar; undefined: no gradients from this batch.
  virtual torch::Tensor training_step(const Batch& batch, std::int64_t batch_idx);
  /// The returned tensor goes to the on_*_batch_end hooks only; undefined is fine.
  virtual torch::Tensor validation_step(const Batch& batch, std::int64_t batch_idx);
  virtual torch::Tensor test_step(const Batch& batch, std::int64_t batch_idx);
  virtual torch::Tensor predict_step(const Batch& batch, std::int64_t batch_idx);
  /// Called once a fit, with the parameters on their device. Exactly one optimizer.
  virtual Optimizers configure_optimizers();

  // ---- logging ----------------------------------------------------------------------------------
  /// Lightning's log(). Cheap: a tensor is kept as it is (detached) and read only when someone asks for its
  /// value.
  /// @param value a tensor of one element, or a number.
  /// @throws std::logic_error where logging is not possible (on_fit_start, on_train_end, ...), on_step and
  /// on_epoch both false,
  ///         on_step in an epoch hook, or the same name twice in one hook with other options.
  void log(const std::string& name, const torch::Tensor& value, const LogOptions& options = {});
  void log(const std::string& name, double value, const LogOptions& options = {});
  void log_dict(const std::map<std::string, torch::Tensor>& values, const LogOptions& options = {});
  void log_dict(const std::map<std::string, double>& values, const LogOptions& options = {});

  // ---- where it is ------------------------------------------------------------------------------
  /// @throws std::logic_error the module is not attached to a Trainer.
  [[nodiscard]] Trainer& trainer() const;
  [[nodiscard]] std::int64_t current_epoch() const;  ///< 0 without a Trainer
  [[nodiscard]] std::int64_t global_step() const;    ///< optimizer steps so far; 0 without a Trainer
  /// of the first parameter (or buffer); the CPU without any
  [[nodiscard]] torch::Device device() const;

  // ---- data -------------------------------------------------------------------------------------
  /// Used when fit(), validate(), test() or predict() gets no loader.
  virtual DataLoader train_dataloader() { return {}; }
  virtual DataLoader val_dataloader() { return {}; }
  virtual DataLoader test_dataloader() { return {}; }
  virtual DataLoader predict_dataloader() { return {}; }
  virtual Batch on_before_batch_transfer(Batch batch) { return batch; }
  virtual Batch transfer_batch_to_device(Batch batch, torch::Device device) { return batch.to(device); }
  virtual Batch on_after_batch_transfer(Batch batch) { return batch; }

  // ---- hooks ------------------------------------------------------------------------------------
  virtual void prepare_data() {}  ///< on local rank 0 only, before the others go on
  virtual void setup(Stage) {}
  virtual void teardown(Stage) {}
  virtual void configure_model() {}
  virtual void on_fit_start() {}
  virtual void on_fit_end() {}
  virtual void on_train_start() {}
  virtual void on_train_end() {}
  virtual void on_train_epoch_start() {}
  virtual void on_train_epoch_end() {}
  /// @return -1: skip the rest of the epoch (this batch included).
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
  virtual void on_validation_model_train();      ///< gives each submodule the mode back that it had
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
  /// Adds to, or reads from, the `module` part of the checkpoint.
  virtual void on_save_checkpoint(TrainerCheckpoint&) {}
  virtual void on_load_checkpoint(const TrainerCheckpoint&) {}

 private:
  friend class Trainer;
  friend struct Attachment;
  void restore_modes();
  std::shared_ptr<Attachment> attachment_;
  std::vector<std::pair<torch::nn::Module*, bool>> modes_;  ///< of each submodule before evaluation
};

}  // namespace rtrain
