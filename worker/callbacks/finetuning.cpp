#include <rtrain/callbacks/finetuning.h>

#include "worker/callbacks/batch_norm.h"
#include "worker/run/warn.h"
#include "worker/runtime/json.h"

#include <rtrain/trainer.h>

#include <torch/torch.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>
#include <stdexcept>

namespace rtrain {
namespace {

bool is_batch_norm(torch::nn::Module& layer) {
  return on_batch_norm(layer, [](auto&) {});
}

/// A BatchNorm layer that does not train keeps no statistics.
void keep_statistics(torch::nn::Module& layer, bool keep) {
  (void)on_batch_norm(layer, [&](auto& norm) { norm.options.track_running_stats(keep); });
}

void set_gradients(torch::nn::Module& layer, bool require) {
  keep_statistics(layer, require);
  for (auto& parameter : layer.parameters(/*recurse=*/false)) parameter.set_requires_grad(require);
}

torch::nn::Module& backbone_of(LightningModule& module) {
  const auto children = module.named_children();
  if (const auto* found = children.find("backbone")) return **found;
  throw std::invalid_argument(
      "BackboneFinetuning: the module has no child called \"backbone\": register_module(\"backbone\", ...)");
}

}  // namespace

void BaseFinetuning::freeze(torch::nn::Module& module, bool train_bn) {
  module.apply([&](torch::nn::Module& layer) { set_gradients(layer, train_bn && is_batch_norm(layer)); });
}

void BaseFinetuning::make_trainable(torch::nn::Module& module) {
  module.apply([](torch::nn::Module& layer) { set_gradients(layer, true); });
}

void BaseFinetuning::unfreeze_and_add_param_group(torch::nn::Module& module, Optimizer& optimizer,
                                                  std::optional<double> lr, double initial_denom_lr,
                                                  bool train_bn) {
  make_trainable(module);
  std::set<const void*> taken;
  for (const auto& parameter : optimizer.module_parameters()) taken.insert(parameter.unsafeGetTensorImpl());
  ParamGroup group;
  bool warned = false;
  module.apply([&](torch::nn::Module& layer) {
    const bool is_norm = is_batch_norm(layer);
    if (is_norm && !train_bn) return;
    for (const auto& parameter : layer.parameters(/*recurse=*/false)) {
      if (taken.insert(parameter.unsafeGetTensorImpl()).second)
        group.params.push_back(parameter);
      else if (!is_norm)
        warned = true;
    }
  });
  if (warned)
    warn(
        "BaseFinetuning: the optimizer has parameters of the module that is unfrozen already: they stay in "
        "their group; configure_optimizers() leaves out parameters that require no gradient");
  if (group.params.empty()) return;
  group.options["lr"] = lr ? *lr : optimizer.lr() / initial_denom_lr;
  optimizer.add_param_group(std::move(group));
}

void BaseFinetuning::setup(Trainer&, LightningModule& module, Stage stage) {
  if (stage != Stage::kFit) return;
  state_ = nlohmann::json::object();
  resumes_ = false;
  freeze_before_training(module);
}

void BaseFinetuning::load_state_dict(const nlohmann::json& state) {
  state_ = state;
  resumes_ = true;
}

/// Before the optimizers' own state is read, which must find its groups.
void BaseFinetuning::on_fit_start(Trainer& trainer, LightningModule& module) {
  if (!std::exchange(resumes_, false)) return;
  std::map<std::string, torch::Tensor> named;
  for (const auto& item : module.named_parameters()) named.emplace(item.key(), item.value());
  const auto parameter = [&](const nlohmann::json& name) {
    const auto found = named.find(name.get<std::string>());
    if (found == named.end())
      throw std::runtime_error(state_key() + ": the checkpoint names a parameter that the module has not: " +
                               name.get<std::string>());
    return found->second;
  };
  if (const auto trains = state_.find("trains"); trains != state_.end()) {
    std::set<std::string> those;
    for (const auto& name : *trains) those.insert(name.get<std::string>());
    const auto settle = [&](torch::nn::Module& layer, const std::string& prefix) {
      for (const auto& entry : layer.named_parameters(/*recurse=*/false)) {
        const bool is_one = those.contains(prefix + entry.key());
        keep_statistics(layer, is_one);
        entry.value().set_requires_grad(is_one);
      }
    };
    settle(module, "");
    for (const auto& item : module.named_modules("", /*include_self=*/false))
      settle(*item.value(), item.key() + ".");
  }
  const auto groups = state_.value("groups", nlohmann::json::array());
  for (std::size_t i = 0; i < groups.size() && i < trainer.optimizers().size(); ++i) {
    auto& optimizer = *trainer.optimizers()[i];
    for (std::size_t g = optimizer.groups().size(); g < groups[i].size(); ++g) {
      ParamGroup group;
      for (const auto& name : groups[i][g]) group.params.push_back(parameter(name));
      optimizer.add_param_group(std::move(group));
    }
  }
}

void BaseFinetuning::on_train_epoch_start(Trainer& trainer, LightningModule& module) {
  for (const auto& optimizer : trainer.optimizers())
    finetune_function(module, trainer.current_epoch(), *optimizer);
}

void BaseFinetuning::on_save_checkpoint(Trainer& trainer, LightningModule& module,
                                        TrainerCheckpoint& checkpoint) {
  std::map<const void*, std::string> names;
  nlohmann::json trains = nlohmann::json::array(), groups = nlohmann::json::array();
  for (const auto& item : module.named_parameters()) {
    names.emplace(item.value().unsafeGetTensorImpl(), item.key());
    if (item.value().requires_grad()) trains.push_back(item.key());
  }
  for (const auto& optimizer : trainer.optimizers()) {
    auto& of_optimizer = groups.emplace_back(nlohmann::json::array());
    for (const auto& group : optimizer->groups()) {
      auto& of_group = of_optimizer.emplace_back(nlohmann::json::array());
      for (const auto& parameter : group.params)
        of_group.push_back(names.at(parameter.unsafeGetTensorImpl()));
    }
  }
  auto& own = checkpoint.callbacks[state_key()];
  own["trains"] = std::move(trains);
  own["groups"] = std::move(groups);
}

BackboneFinetuning::BackboneFinetuning(BackboneFinetuningOptions options) : options_(std::move(options)) {
  std::string problems;
  if (options_.unfreeze_backbone_at_epoch < 0)
    problems += "\n  unfreeze_backbone_at_epoch is " + std::to_string(options_.unfreeze_backbone_at_epoch) +
                ", expected 0 or more";
  if (!options_.lambda_func) problems += "\n  lambda_func is empty";
  if (!(options_.backbone_initial_ratio_lr >= 0))
    problems += "\n  backbone_initial_ratio_lr is " + runtime::dump_json(options_.backbone_initial_ratio_lr) +
                ", expected 0 or more";
  if (!(options_.backbone_initial_lr.value_or(0) >= 0))
    problems += "\n  backbone_initial_lr is " + runtime::dump_json(*options_.backbone_initial_lr) +
                ", expected 0 or more";
  if (!problems.empty())
    throw std::invalid_argument("BackboneFinetuning: these options cannot be used:" + problems);
}

void BackboneFinetuning::freeze_before_training(LightningModule& module) { freeze(backbone_of(module)); }

void BackboneFinetuning::finetune_function(LightningModule& module, std::int64_t epoch,
                                           Optimizer& optimizer) {
  const auto start = options_.unfreeze_backbone_at_epoch;
  if (epoch < start) return;
  const auto head_lr = optimizer.lr();
  if (epoch == start) {
    previous_lr_ = options_.backbone_initial_lr.value_or(head_lr * options_.backbone_initial_ratio_lr);
    unfreeze_and_add_param_group(backbone_of(module), optimizer, previous_lr_, 10, options_.train_bn);
  } else {
    previous_lr_ *= options_.lambda_func(epoch + 1);
    if (options_.should_align) previous_lr_ = std::min(previous_lr_, head_lr);
    optimizer.set_lr(previous_lr_, static_cast<int>(optimizer.groups().size()) - 1);
  }
  if (options_.verbose && module.global_rank() == 0)
    std::cerr << "BackboneFinetuning: learning rate " << head_lr << ", of the backbone " << previous_lr_
              << std::endl;
}

nlohmann::json BackboneFinetuning::state_dict() const {
  auto state = BaseFinetuning::state_dict();
  state["previous_backbone_lr"] = previous_lr_;
  return state;
}

void BackboneFinetuning::load_state_dict(const nlohmann::json& state) {
  previous_lr_ = state.at("previous_backbone_lr").get<double>();
  BaseFinetuning::load_state_dict(state);
}

}  // namespace rtrain
