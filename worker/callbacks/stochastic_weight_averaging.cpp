#include <rtrain/callbacks/stochastic_weight_averaging.h>

#include "worker/callbacks/batch_norm.h"
#include "worker/callbacks/weights.h"
#include "worker/run/warn.h"
#include "worker/runtime/json.h"

#include <rtrain/trainer.h>

#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <stdexcept>

namespace rtrain {
namespace {

constexpr const char* kAverage = "StochasticWeightAveraging.average.";

}  // namespace

StochasticWeightAveraging::StochasticWeightAveraging(StochasticWeightAveragingOptions options)
    : options_(std::move(options)) {
  std::string problems;
  const auto& lrs = options_.swa_lrs;
  if (lrs.empty() || std::any_of(lrs.begin(), lrs.end(), [](double lr) { return !(lr > 0); }))
    problems += "\n  swa_lrs must be given, one or one for each parameter group, all above 0";
  if (const auto* epoch = std::get_if<int>(&options_.swa_epoch_start); epoch != nullptr && *epoch < 1)
    problems += "\n  swa_epoch_start is " + std::to_string(*epoch) + ", expected 1 or more";
  if (const auto* part = std::get_if<double>(&options_.swa_epoch_start);
      part != nullptr && !(*part >= 0 && *part <= 1))
    problems += "\n  swa_epoch_start is " + runtime::dump_json(*part) + ", expected 0.0 to 1.0";
  if (options_.annealing_epochs < 0)
    problems +=
        "\n  annealing_epochs is " + std::to_string(options_.annealing_epochs) + ", expected 0 or more";
  if (!problems.empty())
    throw std::invalid_argument("StochasticWeightAveraging: these options cannot be used:" + problems);
}

void StochasticWeightAveraging::setup(Trainer&, LightningModule&, Stage stage) {
  if (stage != Stage::kFit) return;
  averages_.clear();
  averaged_ = 0;
  latest_epoch_ = -1;
  begun_ = false;
}

void StochasticWeightAveraging::on_fit_start(Trainer& trainer, LightningModule&) {
  const auto of_fit = [](std::size_t count) { return ", and the fit has " + std::to_string(count); };
  if (trainer.optimizers().size() != 1)
    throw std::invalid_argument("StochasticWeightAveraging: it averages with one optimizer" +
                                of_fit(trainer.optimizers().size()));
  if (trainer.lr_scheduler_configs().size() > 1)
    throw std::invalid_argument("StochasticWeightAveraging: it replaces one scheduler" +
                                of_fit(trainer.lr_scheduler_configs().size()));
  std::int64_t start = 0;
  if (const auto* part = std::get_if<double>(&options_.swa_epoch_start)) {
    if (trainer.max_epochs() == -1)
      throw std::invalid_argument(
          "StochasticWeightAveraging: swa_epoch_start is a fraction, but max_epochs is -1: give an epoch");
    start = static_cast<std::int64_t>(static_cast<double>(trainer.max_epochs()) * *part);
  } else {
    start = std::get<int>(options_.swa_epoch_start);
  }
  first_epoch_ = std::max<std::int64_t>(start - 1, 0);
  if (begun_) begin(trainer);  // its scheduler is in the checkpoint that is being read
}

void StochasticWeightAveraging::begin(Trainer& trainer) {
  begun_ = true;
  const auto& optimizer = trainer.optimizers().front();
  const auto& lrs = options_.swa_lrs;
  LRSchedulerConfig config{
      .scheduler =
          lr::SWALR(optimizer, {.swa_lr = lrs.size() == 1 ? lr::PerGroup(lrs.front()) : lr::PerGroup(lrs),
                                .anneal_epochs = options_.annealing_epochs,
                                .anneal_strategy = options_.annealing_strategy})};
  auto& schedulers = trainer.lr_scheduler_configs();
  if (!schedulers.empty() &&
      (schedulers.front().interval != Interval::kEpoch || schedulers.front().frequency != 1))
    warn("StochasticWeightAveraging: the scheduler that it replaces steps otherwise than once an epoch");
  schedulers.assign(1, std::move(config));
}

void StochasticWeightAveraging::average(const Trainer& trainer, const LightningModule& module) {
  const torch::NoGradGuard no_grad;
  for (const auto& weight : weights_of(trainer, module)) {
    if (weight.is_buffer) continue;
    const auto& value = weight.piece.tensor;
    const auto current = value.detach().to(options_.device.value_or(value.device()));
    auto& average = averages_[weight.name];
    if (averaged_ == 0 || !average.defined())
      average = current.clone();
    else if (options_.avg_fn)
      average = options_.avg_fn(average, current, averaged_);
    else
      average = average + (current - average) / static_cast<double>(averaged_ + 1);
  }
  ++averaged_;
}

void StochasticWeightAveraging::on_train_epoch_start(Trainer& trainer, LightningModule& module) {
  const auto epoch = trainer.current_epoch();
  if (epoch < first_epoch_) return;
  if (!begun_) begin(trainer);
  if (epoch <= latest_epoch_) return;
  average(trainer, module);
  latest_epoch_ = epoch;
}

void StochasticWeightAveraging::on_train_end(Trainer& trainer, LightningModule& module) {
  const bool whole = trainer.max_epochs() == -1 || trainer.current_epoch() == trainer.max_epochs();
  if (!whole || averaged_ == 0) return;
  const torch::NoGradGuard no_grad;
  with_weights(trainer, module, [&](const std::vector<Weight>& weights) {
    for (const auto& weight : weights)
      if (!weight.is_buffer) weight.piece.tensor.copy_(averages_.at(weight.name));
  });
  if (trainer.max_epochs() != -1) renew_batch_norm(trainer, module);
}

/// torch.optim.swa_utils.update_bn(): plain means over the data.
void StochasticWeightAveraging::renew_batch_norm(Trainer& trainer, LightningModule& module) const {
  std::vector<std::function<void()>> restore;
  const auto renew = [&](auto& norm) {
    if (!norm.running_mean.defined()) return;
    norm.reset_running_stats();
    restore.emplace_back([&norm, before = norm.options.momentum()] { norm.options.momentum(before); });
    norm.options.momentum(std::nullopt);
  };
  for (const auto& layer : module.modules(/*include_self=*/false)) (void)on_batch_norm(*layer, renew);
  if (restore.empty()) return;
  std::int64_t index = 0;
  trainer.for_each_training_batch([&](const Batch& batch) { (void)module.training_step(batch, index++); });
  for (const auto& back : restore) back();
}

void StochasticWeightAveraging::on_save_checkpoint(Trainer& trainer, LightningModule& module,
                                                   TrainerCheckpoint& checkpoint) {
  for (const auto& weight : weights_of(trainer, module)) {
    const auto found = averages_.find(weight.name);
    if (found == averages_.end()) continue;
    auto average = weight.piece;
    average.tensor = found->second;
    checkpoint.tensors[kAverage + weight.name] = std::move(average);
  }
}

void StochasticWeightAveraging::on_load_checkpoint(Trainer& trainer, LightningModule& module,
                                                   const TrainerCheckpoint& checkpoint) {
  for (const auto& weight : weights_of(trainer, module))
    if (const auto found = checkpoint.tensors.find(kAverage + weight.name); found != checkpoint.tensors.end())
      averages_[weight.name] =
          part_for(weight, found->second).to(options_.device.value_or(weight.piece.tensor.device())).clone();
}

nlohmann::json StochasticWeightAveraging::state_dict() const {
  return {{"averaged", averaged_}, {"latest_update_epoch", latest_epoch_}, {"begun", begun_}};
}

void StochasticWeightAveraging::load_state_dict(const nlohmann::json& state) {
  averaged_ = state.at("averaged").get<std::int64_t>();
  latest_epoch_ = state.at("latest_update_epoch").get<std::int64_t>();
  begun_ = state.at("begun").get<bool>();
}

}  // namespace rtrain
