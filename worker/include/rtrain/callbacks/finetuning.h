// Trains parts of a model later than others: Lightning's BaseFinetuning and BackboneFinetuning.
#pragma once

#include <rtrain/callback.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace rtrain {

/// Freezes parts of a module before configure_optimizers() and gives them to the optimizer when their epoch
/// has come. configure_optimizers() must leave out parameters that do not require a gradient. Which
/// parameters train, and the groups that were added, are in checkpoints, so that a resumed fit goes on with
/// them. A class of one's own overrides freeze_before_training() and finetune_function().
class RTRAIN_API BaseFinetuning : public Callback {
 public:
  /// Before configure_optimizers(), in a fit.
  virtual void freeze_before_training(LightningModule& module) = 0;
  /// At the start of each epoch (from 0), for each optimizer.
  virtual void finetune_function(LightningModule& module, std::int64_t epoch, Optimizer& optimizer) = 0;

  /// Parameters at and below `module` need no gradient. @param train_bn true: BatchNorm layers stay as they
  /// are trained; false: they are frozen too, and use the statistics of each batch (as Lightning).
  static void freeze(torch::nn::Module& module, bool train_bn = true);
  static void make_trainable(torch::nn::Module& module);
  /// make_trainable(), and its parameters become a new group, without those the optimizer has already.
  /// @param lr default: that of the first group / initial_denom_lr. @param train_bn false: without BatchNorm
  ///        layers.
  static void unfreeze_and_add_param_group(torch::nn::Module& module, Optimizer& optimizer,
                                           std::optional<double> lr = {}, double initial_denom_lr = 10,
                                           bool train_bn = true);

  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  void on_fit_start(Trainer& trainer, LightningModule& module) override;
  void on_train_epoch_start(Trainer& trainer, LightningModule& module) override;
  void on_save_checkpoint(Trainer& trainer, LightningModule& module, TrainerCheckpoint& checkpoint) override;
  [[nodiscard]] nlohmann::json state_dict() const override { return state_; }
  void load_state_dict(const nlohmann::json& state) override;

 private:
  nlohmann::json state_ = nlohmann::json::object();
  bool resumes_ = false;
};

/// Lightning's arguments and defaults.
struct RTRAIN_API BackboneFinetuningOptions {
  std::int64_t unfreeze_backbone_at_epoch = 10;  ///< from 0
  /// what the backbone's learning rate is multiplied by at the start of each later epoch; gets epoch + 1
  std::function<double(std::int64_t)> lambda_func = [](std::int64_t) { return 2.0; };
  double backbone_initial_ratio_lr = 0.1;       ///< its first learning rate, in parts of the first group's
  std::optional<double> backbone_initial_lr{};  ///< or the rate itself
  bool should_align = true;                     ///< it stays at the first group's once it reaches it
  bool train_bn = true;                         ///< false: BatchNorm layers are not in the new group
  bool verbose = false;                         ///< says both learning rates on rank 0
};

/// Trains the head of a model alone at first, then its backbone with a learning rate that grows up to the
/// head's. The module has a child that is called "backbone".
class RTRAIN_API BackboneFinetuning : public BaseFinetuning {
 public:
  /// @throws std::invalid_argument lists what is out of range.
  explicit BackboneFinetuning(BackboneFinetuningOptions options = {});
  void freeze_before_training(LightningModule& module) override;
  void finetune_function(LightningModule& module, std::int64_t epoch, Optimizer& optimizer) override;
  [[nodiscard]] nlohmann::json state_dict() const override;
  void load_state_dict(const nlohmann::json& state) override;

 private:
  BackboneFinetuningOptions options_;
  double previous_lr_ = 0;
};

}  // namespace rtrain
