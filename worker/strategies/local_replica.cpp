#include "worker/strategies/local_replica.h"

#include "worker/checkpoint/module_state.h"
#include "worker/optim/unique.h"
#include "worker/strategies/rank_means.h"

#include <torch/torch.h>

#include <map>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

constexpr const char* kValue = "value.";

std::string of_optimizer(std::size_t number) { return "optimizer." + std::to_string(number) + "."; }

void copy_into(const std::vector<torch::Tensor>& to, const std::vector<torch::Tensor>& from) {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < to.size(); ++i) to[i].detach().copy_(from[i]);
}

}  // namespace

LocalReplica::LocalReplica(torch::nn::Module& module, Communicator& ranks) : module_(module), ranks_(ranks) {
  FirstTime first;
  const auto take = [&](const auto& named) {
    for (const auto& item : named) {
      if (!item.value().defined() || !first(item.value())) continue;
      names_.push_back(item.key());
      values_.push_back(item.value());
    }
  };
  take(module.named_parameters());
  take(module.named_buffers());
}

void LocalReplica::hold_equal() {
  if (holds_equal()) return;
  const torch::NoGradGuard no_grad;
  for (const auto& value : values_) own_.push_back(value.detach().clone());
  copy_into(values_, means_over(ranks_, values_));
}

void LocalReplica::hold_own() {
  if (!holds_equal()) return;
  copy_into(values_, own_);
  own_.clear();
}

StateTree LocalReplica::equal_state() const {
  std::vector<torch::Tensor> means;
  if (holds_equal())
    for (const auto& value : values_) means.push_back(value.detach().clone());
  else
    means = means_over(ranks_, values_);
  std::map<const void*, torch::Tensor> mean_of;
  for (std::size_t i = 0; i < values_.size(); ++i)
    mean_of.emplace(values_[i].unsafeGetTensorImpl(), means[i]);
  auto state = state_of(module_);
  for (auto& [name, piece] : state)
    if (const auto found = mean_of.find(piece.tensor.unsafeGetTensorImpl()); found != mean_of.end())
      piece = StatePiece(found->second);
  return state;
}

void LocalReplica::save(PlanState& state) const {
  const auto& own = holds_equal() ? own_ : values_;
  for (std::size_t i = 0; i < own.size(); ++i) state.own.emplace(kValue + names_[i], own[i].detach());
  if (ranks_.rank() == 0) return;
  for (std::size_t i = 0; i < optimizers_.size(); ++i)
    for (const auto& [name, tensor] : optimizers_[i]->state_dict().tensors)
      state.own.emplace(of_optimizer(i) + name, tensor);
}

bool LocalReplica::load(const PlanState& saved) {
  own_.clear();
  std::vector<torch::Tensor> values;
  std::string problems;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    const auto found = saved.own.find(kValue + names_[i]);
    if (found == saved.own.end())
      problems += "\n  this rank's " + names_[i] + " is missing";
    else if (found->second.sizes() != values_[i].sizes())
      problems += "\n  this rank's " + names_[i] + " has the shape " + c10::str(found->second.sizes()) +
                  ", expected " + c10::str(values_[i].sizes());
    else
      values.push_back(found->second);
  }
  if (values.empty() && !values_.empty()) return false;
  if (!problems.empty()) throw std::runtime_error("the state of a rank of its own:" + problems);
  for (std::size_t i = 0; i < optimizers_.size(); ++i) {
    auto state = optimizers_[i]->state_dict();
    StateTree tensors;
    const auto prefix = of_optimizer(i);
    for (const auto& [name, tensor] : saved.own)
      if (name.starts_with(prefix)) tensors.emplace(name.substr(prefix.size()), tensor);
    if (tensors.empty()) continue;
    state.tensors = std::move(tensors);
    optimizers_[i]->load_state_dict(state);
  }
  copy_into(values_, values);
  return true;
}

}  // namespace rtrain
