#include "worker/optim/grouped.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_neg.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <cmath>
#include <map>
#include <stdexcept>

namespace rtrain::optim {
namespace {

/// What the value must be, when it is not.
const char* fault_of(Range range, double value) {
  switch (range) {
    case Range::kAny: return std::isnan(value) ? "must be a number" : nullptr;
    case Range::kAtLeast0: return value >= 0 ? nullptr : "must be 0 or more";
    case Range::kAbove0: return value > 0 ? nullptr : "must be above 0";
    case Range::kAtLeast1: return value >= 1 ? nullptr : "must be 1 or more";
    case Range::kAtMost0: return value <= 0 ? nullptr : "must be 0 or less";
    case Range::kBelow1: return value >= 0 && value < 1 ? nullptr : "must be in [0, 1)";
    case Range::kFraction: return value >= 0 && value <= 1 ? nullptr : "must be in [0, 1]";
    case Range::kWhole:
      return value >= 0 && value == std::floor(value) ? nullptr : "must be a whole number from 0";
  }
  return nullptr;
}

/// The kernels walk parameter, gradient and state by memory order, so all must be laid out alike.
torch::Tensor laid_out_like(const torch::Tensor& parameter, const torch::Tensor& tensor) {
  return tensor.strides() == parameter.strides() && tensor.scalar_type() == parameter.scalar_type()
             ? tensor
             : at::empty_like(parameter).copy_(tensor);
}

void check_parameters(const ParamGroup& group, const std::string& place) {
  for (std::size_t i = 0; i < group.params.size(); ++i) {
    const auto& p = group.params[i];
    if (!p.defined()) continue;  // refused for that
    const auto what = place + ": parameter " + std::to_string(i);
    if (!p.is_floating_point()) throw std::invalid_argument(what + " holds no floating-point numbers");
    if (!p.is_non_overlapping_and_dense()) throw std::invalid_argument(what + " is not dense in memory");
  }
}

}  // namespace

Grouped::Grouped(const Kind& kind, std::vector<ParamGroup> groups, Options defaults)
    : Optimizer(std::move(groups), kind.type, std::move(defaults)), kind_(kind) {
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    check_names(groups_[i], place_of(i));
    Grouped::check_group(groups_[i], place_of(i));
  }
}

void Grouped::check_names(const ParamGroup& group, const std::string& place) const {
  for (const auto& [name, value] : group.options) {
    bool known = name == "initial_lr";  // a scheduler's, of a group that comes late
    std::string all;
    for (const auto& rule : kind_.options) {
      known = known || name == rule.name;
      all += (all.empty() ? "" : ", ") + std::string(rule.name);
    }
    if (!known)
      throw std::invalid_argument(place + ": there is no option \"" + name + "\"; there are " + all);
  }
}

void Grouped::check_group(const ParamGroup& group, const std::string& place) const {
  check_parameters(group, place);
  for (const auto& rule : kind_.options) {
    const auto found = group.options.find(rule.name);
    if (found == group.options.end()) {
      if (!rule.may_be_missing)
        throw std::invalid_argument(place + ": the option \"" + rule.name + "\" is missing");
    } else if (const char* fault = fault_of(rule.range, found->second)) {
      throw std::invalid_argument(place + ": " + rule.name + " " + fault + ", found " +
                                  std::to_string(found->second));
    }
  }
  const auto fault = kind_.fault == nullptr ? "" : kind_.fault(group.options);
  if (!fault.empty()) throw std::invalid_argument(place + ": " + fault);
}

void Grouped::add_param_group(ParamGroup group) {
  check_names(group, type_name() + ": the new group");
  Optimizer::add_param_group(std::move(group));
}

bool Grouped::read_lr_from(std::vector<torch::Tensor> by_group) {
  if (!by_group.empty() && (!is_fused() || by_group.size() != groups_.size())) return false;
  lr_ = std::move(by_group);
  return true;
}

void Grouped::step(const StepInputs& inputs) {
  const torch::NoGradGuard no_grad;
  if (!is_fused() && inputs.found_inf.defined() && inputs.found_inf.item<float>() != 0) return;
  std::size_t number = 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const auto& group = groups_[g];
    // One kernel call takes tensors of one device and type. The usual case comes without a lookup a
    // parameter: everything is like the first.
    Stepped alike;
    std::map<std::pair<std::string, at::ScalarType>, Stepped> others;
    for (const auto& p : group.params) {
      const auto index = number++;
      const auto& gradient = p.grad();
      if (!gradient.defined()) continue;
      if (gradient.layout() != (takes_sparse() ? at::kSparse : at::kStrided))
        throw std::invalid_argument(
            type_name() + ": " +
            (takes_sparse() ? "dense gradients are not supported" : "sparse gradients are not supported") +
            " (parameter \"" + parameter_name(index) + "\")" +
            (takes_sparse() ? "; it takes sparse gradients only" : "; SparseAdam takes them"));
      const auto& front = group.params.front();
      auto& batch = p.device() == front.device() && p.scalar_type() == front.scalar_type()
                        ? alike
                        : others[{p.device().str(), p.scalar_type()}];
      batch.numbers.push_back(index);
      batch.parameters.push_back(p);
      const auto values = gradient.requires_grad() ? gradient.detach() : gradient;
      batch.gradients.push_back(takes_sparse() ? values.coalesce() : laid_out_like(p, values));
    }
    const auto run = [&](Stepped& batch) {
      if (batch.numbers.empty()) return;
      if (!lr_.empty()) batch.lr = lr_[g];
      if (is_fused()) return update(group.options, batch, inputs);
      if (inputs.grad_scale.defined()) {
        if (takes_sparse())
          for (auto& gradient : batch.gradients) gradient = (gradient / inputs.grad_scale).coalesce();
        else
          batch.gradients = at::_foreach_div(batch.gradients, inputs.grad_scale);
      }
      update(group.options, batch, {});
    };
    run(alike);
    for (auto& [key, batch] : others) run(batch);
  }
}

Optimizer::ParameterState& Grouped::state_of(std::size_t number, const Options& options) {
  auto& state = state_[number];
  if (state.empty()) state = *new_state(parameters_[number], options);
  return state;
}

Tensors Grouped::state_list(const Stepped& batch, const char* name) {
  Tensors list;
  list.reserve(batch.numbers.size());
  for (const auto number : batch.numbers) list.push_back(state_[number].at(name));
  return list;
}

std::vector<double> Grouped::count_steps(const Stepped& batch) {
  std::vector<double> counts;
  counts.reserve(batch.numbers.size());
  for (const auto number : batch.numbers) {
    auto* count = state_[number].at("step").data_ptr<float>();
    counts.push_back(*count += 1);
  }
  return counts;
}

torch::Tensor host_number(double value) { return at::full({}, value, at::TensorOptions().dtype(at::kFloat)); }

torch::Tensor device_number(const torch::Tensor& parameter) {
  return at::zeros({}, parameter.options().dtype(at::kFloat).requires_grad(false));
}

void prepare(const Options& options, Stepped& batch, bool decoupled) {
  if (flag(options, "maximize")) batch.gradients = at::_foreach_neg(batch.gradients);
  const auto found = options.find("weight_decay");  // Rprop has none
  const double weight_decay = found == options.end() ? 0 : found->second;
  if (weight_decay == 0) return;
  if (decoupled)
    at::_foreach_mul_(batch.parameters, 1 - option(options, "lr") * weight_decay);
  else
    batch.gradients = at::_foreach_add(batch.gradients, batch.parameters, weight_decay);
}

void average_squares(Tensors& averages, const Tensors& x, double decay) {
  at::_foreach_mul_(averages, decay);
  at::_foreach_addcmul_(averages, x, x, 1 - decay);
}

}  // namespace rtrain::optim
