// Averages the weights of a fit's last epochs: Lightning's StochasticWeightAveraging.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/callbacks/weight_averaging.h>
#include <rtrain/schedulers.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace rtrain {

/// Lightning's arguments and defaults.
struct RTRAIN_API StochasticWeightAveragingOptions {
  std::vector<double> swa_lrs{};  ///< one for all parameter groups, or one for each; above 0; required
  /// the epoch it begins with, counted from 1, or a fraction of max_epochs
  std::variant<double, int> swa_epoch_start = 0.8;
  std::int64_t annealing_epochs = 10;  ///< until the learning rate is swa_lrs; 0 or more
  lr::Anneal annealing_strategy = lr::Anneal::kCosine;
  AverageFunction avg_fn{};  ///< default: all epochs weigh the same
  /// where the averages are kept; std::nullopt: where the parameters are
  std::optional<torch::Device> device = torch::Device(torch::kCPU);
};

/// From an epoch on, averages the parameters at the start of each epoch while SWALR takes the place of the
/// fit's scheduler; after the last epoch the module gets the averages. If it has BatchNorm layers, one pass
/// over the training data without gradients then computes their statistics anew (torch.optim.swa_utils's
/// update_bn). Lightning makes that pass an epoch of its own; here it is none.
/// A fit that ends before max_epochs (max_steps, a stop) keeps its own weights. For one optimizer and at most
/// one scheduler. Izmailov et al., arXiv 1803.05407.
class RTRAIN_API StochasticWeightAveraging : public Callback {
 public:
  /// @throws std::invalid_argument lists every problem of the options.
  explicit StochasticWeightAveraging(StochasticWeightAveragingOptions options);

  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  /// @throws std::invalid_argument the number of optimizers or schedulers; a fraction without max_epochs.
  void on_fit_start(Trainer& trainer, LightningModule& module) override;
  void on_train_epoch_start(Trainer& trainer, LightningModule& module) override;
  void on_train_end(Trainer& trainer, LightningModule& module) override;
  void on_save_checkpoint(Trainer& trainer, LightningModule& module, TrainerCheckpoint& checkpoint) override;
  void on_load_checkpoint(Trainer& trainer, LightningModule& module,
                          const TrainerCheckpoint& checkpoint) override;
  [[nodiscard]] nlohmann::json state_dict() const override;
  void load_state_dict(const nlohmann::json& state) override;

 private:
  void begin(Trainer& trainer);
  void average(const Trainer& trainer, const LightningModule& module);
  void renew_batch_norm(Trainer& trainer, LightningModule& module) const;

  StochasticWeightAveragingOptions options_;
  std::map<std::string, torch::Tensor> averages_;  ///< of this rank's elements
  std::int64_t first_epoch_ = 0;                   ///< from 0
  std::int64_t averaged_ = 0, latest_epoch_ = -1;
  bool begun_ = false;
};

}  // namespace rtrain
