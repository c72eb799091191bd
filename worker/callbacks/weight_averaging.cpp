#include <rtrain/callbacks/weight_averaging.h>

#include "worker/callbacks/weights.h"
#include "worker/run/warn.h"
#include "worker/runtime/json.h"

#include <rtrain/trainer.h>

#include <torch/torch.h>

#include <stdexcept>

namespace rtrain {
namespace {

constexpr const char* kCurrent = ".current.";

}  // namespace

WeightAveraging::WeightAveraging(WeightAveragingOptions options) : options_(std::move(options)) {}

bool WeightAveraging::should_update(std::optional<std::int64_t> step_idx, std::optional<std::int64_t>) const {
  return step_idx.has_value();
}

void WeightAveraging::setup(Trainer&, LightningModule&, Stage stage) {
  if (stage != Stage::kFit) return;
  averages_.clear();
  swapped_ = is_done_ = false;
  averaged_ = latest_step_ = 0;
  latest_epoch_ = -1;
}

/// The weights are on their device now; those of a checkpoint have been read.
void WeightAveraging::on_fit_start(Trainer& trainer, LightningModule& module) {
  const torch::NoGradGuard no_grad;
  for (const auto& weight : weights_of(trainer, module)) {
    const auto& current = weight.piece.tensor;
    const auto device = options_.device.value_or(current.device());
    const auto found = averages_.find(weight.name);
    averages_[weight.name] = found == averages_.end()
                                 ? current.detach().to(device, /*non_blocking=*/false, /*copy=*/true)
                                 : found->second.to(device);
  }
}

void WeightAveraging::update(std::vector<torch::Tensor>& averages, const std::vector<torch::Tensor>& current,
                             std::int64_t averaged) {
  if (!options_.avg_fn) return at::_foreach_lerp_(averages, current, 1.0 / static_cast<double>(averaged + 1));
  for (std::size_t i = 0; i < averages.size(); ++i)
    averages[i].copy_(options_.avg_fn(averages[i], current[i], averaged));
}

void WeightAveraging::update_from(const Trainer& trainer, const LightningModule& module) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> averages, current;  // of floating-point numbers
  for (const auto& weight : weights_of(trainer, module)) {
    auto& average = averages_.at(weight.name);
    const auto& value = weight.piece.tensor;
    if (averaged_ == 0 || (weight.is_buffer && !options_.use_buffers)) {
      average.copy_(value);
    } else if (average.is_floating_point()) {
      averages.push_back(average);
      current.push_back(value.detach().to(average.device()));
    } else {  // counts: computed as float, cut to whole numbers
      std::vector<torch::Tensor> one{average.to(torch::kFloat)};
      update(one, {value.to(average.device(), torch::kFloat)}, averaged_);
      average.copy_(one.front());
    }
  }
  if (!averages.empty()) update(averages, current, averaged_);
  ++averaged_;
}

void WeightAveraging::on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput&,
                                         const Batch&, std::int64_t) {
  const auto steps = trainer.global_step();
  if (steps <= latest_step_ || !should_update(steps - 1, std::nullopt)) return;
  update_from(trainer, module);
  latest_step_ = steps;
}

void WeightAveraging::on_train_epoch_end(Trainer& trainer, LightningModule& module) {
  const auto epoch = trainer.current_epoch();
  if (epoch <= latest_epoch_ || !should_update(std::nullopt, epoch)) return;
  update_from(trainer, module);
  latest_epoch_ = epoch;
}

void WeightAveraging::copy_to(Trainer& trainer, LightningModule& module) {
  const torch::NoGradGuard no_grad;
  with_weights(trainer, module, [&](const std::vector<Weight>& weights) {
    for (const auto& weight : weights) weight.piece.tensor.copy_(averages_.at(weight.name));
  });
  is_done_ = true;
}

void WeightAveraging::on_train_end(Trainer& trainer, LightningModule& module) { copy_to(trainer, module); }

/// A fit that resumed where its training had ended has no on_train_end.
void WeightAveraging::on_fit_end(Trainer& trainer, LightningModule& module) {
  if (!is_done_) copy_to(trainer, module);
}

void WeightAveraging::swap(Trainer& trainer, LightningModule& module) {
  const torch::NoGradGuard no_grad;
  with_weights(trainer, module, [&](const std::vector<Weight>& weights) {
    for (const auto& weight : weights) {
      auto& other = averages_.at(weight.name);
      const auto held = other.clone();
      other.copy_(weight.piece.tensor);
      weight.piece.tensor.copy_(held);
    }
  });
  swapped_ = !swapped_;
}

void WeightAveraging::on_validation_epoch_start(Trainer& trainer, LightningModule& module) {
  if (trainer.fitting() && !is_done_) swap(trainer, module);
}
void WeightAveraging::on_validation_epoch_end(Trainer& trainer, LightningModule& module) {
  if (trainer.fitting() && swapped_) swap(trainer, module);
}

void WeightAveraging::on_save_checkpoint(Trainer& trainer, LightningModule& module,
                                         TrainerCheckpoint& checkpoint) {
  if (averages_.empty() || (is_done_ && !trainer.fitting())) return;  // the module has the averages
  std::map<std::string, std::string> names;
  const auto own = trainer.strategy().module_state(module);
  (void)weights_of(module, own, &names);
  for (auto& [name, piece] : checkpoint.model) {
    const auto found = own.find(name);
    if (found == own.end() || found->second.tensor.const_data_ptr() != piece.tensor.const_data_ptr())
      throw std::logic_error(state_key() + ": the strategy saves another \"" + name +
                             "\" than the module has, so that its average cannot be saved");
    auto other = piece;
    other.tensor = averages_.at(names.at(name));
    checkpoint.tensors[state_key() + kCurrent + name] = swapped_ ? other : piece;
    if (!swapped_) piece = other;
  }
}

void WeightAveraging::on_load_checkpoint(Trainer& trainer, LightningModule& module,
                                         const TrainerCheckpoint& checkpoint) {
  const torch::NoGradGuard no_grad;
  bool is_own = false;
  with_weights(trainer, module, [&](const std::vector<Weight>& weights) {
    for (const auto& weight : weights) {
      const auto& value = weight.piece.tensor;
      if (const auto found = checkpoint.model.find(weight.name); found != checkpoint.model.end())
        averages_[weight.name] =
            part_for(weight, found->second).to(value.device(), value.scalar_type()).clone();
      const auto current = checkpoint.tensors.find(state_key() + kCurrent + weight.name);
      if (current == checkpoint.tensors.end()) continue;
      is_own = true;
      value.copy_(part_for(weight, current->second));
    }
  });
  if (!is_own)
    warn(state_key() +
         ": the checkpoint was saved without it; the weights and their average both begin with "
         "the checkpoint's model");
}

nlohmann::json WeightAveraging::state_dict() const {
  return {
      {"averaged", averaged_}, {"latest_update_step", latest_step_}, {"latest_update_epoch", latest_epoch_}};
}

void WeightAveraging::load_state_dict(const nlohmann::json& state) {
  averaged_ = state.at("averaged").get<std::int64_t>();
  latest_step_ = state.at("latest_update_step").get<std::int64_t>();
  latest_epoch_ = state.at("latest_update_epoch").get<std::int64_t>();
}

EMAWeightAveraging::EMAWeightAveraging(EMAWeightAveragingOptions options)
    : WeightAveraging({.device = options.device, .use_buffers = options.use_buffers}), options_(options) {
  std::string problems;
  if (!(options.decay >= 0 && options.decay <= 1))
    problems += "\n  decay is " + runtime::dump_json(options.decay) + ", expected 0 to 1";
  if (options.update_every_n_steps < 0)
    problems += "\n  update_every_n_steps is " + std::to_string(options.update_every_n_steps) +
                ", expected 0 or more";
  if (!problems.empty())
    throw std::invalid_argument("EMAWeightAveraging: these options cannot be used:" + problems);
}

bool EMAWeightAveraging::should_update(std::optional<std::int64_t> step_idx,
                                       std::optional<std::int64_t> epoch_idx) const {
  if (step_idx)
    return *step_idx >= options_.update_starting_at_step.value_or(0) && options_.update_every_n_steps > 0 &&
           *step_idx % options_.update_every_n_steps == 0;
  return epoch_idx && options_.update_starting_at_epoch && *epoch_idx >= *options_.update_starting_at_epoch;
}

void EMAWeightAveraging::update(std::vector<torch::Tensor>& averages,
                                const std::vector<torch::Tensor>& current, std::int64_t) {
  at::_foreach_mul_(averages, options_.decay);
  at::_foreach_add_(averages, current, 1 - options_.decay);
}

RTRAIN_REGISTER_OPTIONS(Callback, "EMAWeightAveraging", EMAWeightAveraging, EMAWeightAveragingOptions,
                        use_buffers, decay, update_every_n_steps, update_starting_at_step,
                        update_starting_at_epoch);

}  // namespace rtrain
