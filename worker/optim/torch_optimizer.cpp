#include "worker/optim/torch_optimizer.h"

#include "worker/optim/grouped.h"

#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <stdexcept>
#include <utility>

namespace rtrain::optim {

std::shared_ptr<Optimizer> wrap_lbfgs(std::shared_ptr<torch::optim::Optimizer> optimizer);  // lbfgs.cpp

namespace {

namespace to = torch::optim;
using State = Optimizer::ParameterState;

/// Sets what `options` has of a name.
template <class T>
void take(const Options& options, const char* name, T& field) {
  if (const auto found = options.find(name); found != options.end()) field = static_cast<T>(found->second);
}
/// The count of a step: a 64-bit integer there, a float32 scalar in checkpoints.
torch::Tensor count_of(std::int64_t step) { return host_number(static_cast<double>(step)); }
std::int64_t step_of(const State& state) {
  const auto found = state.find("step");
  return found == state.end() ? 0 : found->second.item<std::int64_t>();
}
void keep(State& state, const char* name, const torch::Tensor& tensor) {
  if (tensor.defined()) state.emplace(name, tensor);
}
torch::Tensor find(const State& state, const char* name) {
  const auto found = state.find(name);
  return found == state.end() ? torch::Tensor() : found->second;
}

/// Adam and AdamW have the same members under different types.
template <class O, class S>
constexpr TorchClass adam_like(const char* type) {
  return {type,
          [](const to::OptimizerOptions& given) {
            const auto& o = static_cast<const O&>(given);
            return Options{
                {"lr", o.lr()},   {"beta1", std::get<0>(o.betas())},  {"beta2", std::get<1>(o.betas())},
                {"eps", o.eps()}, {"weight_decay", o.weight_decay()}, {"amsgrad", o.amsgrad()}};
          },
          [](to::OptimizerOptions& given, const Options& options) {
            auto& o = static_cast<O&>(given);
            take(options, "lr", o.lr());
            take(options, "beta1", std::get<0>(o.betas()));
            take(options, "beta2", std::get<1>(o.betas()));
            take(options, "eps", o.eps());
            take(options, "weight_decay", o.weight_decay());
            take(options, "amsgrad", o.amsgrad());
          },
          [](const to::OptimizerParamState& given) {
            const auto& s = static_cast<const S&>(given);
            State state{{"step", count_of(s.step())}};
            keep(state, "exp_avg", s.exp_avg());
            keep(state, "exp_avg_sq", s.exp_avg_sq());
            keep(state, "max_exp_avg_sq", s.max_exp_avg_sq());
            return state;
          },
          [](const State& state) -> std::unique_ptr<to::OptimizerParamState> {
            auto s = std::make_unique<S>();
            s->step(step_of(state));
            s->exp_avg(find(state, "exp_avg"));
            s->exp_avg_sq(find(state, "exp_avg_sq"));
            s->max_exp_avg_sq(find(state, "max_exp_avg_sq"));
            return s;
          },
          [](const Options& options) {
            std::vector<const char*> names{"exp_avg", "exp_avg_sq"};
            if (flag(options, "amsgrad")) names.push_back("max_exp_avg_sq");
            return names;
          }};
}

constexpr TorchClass kTorchAdam = adam_like<to::AdamOptions, to::AdamParamState>("Adam");
constexpr TorchClass kTorchAdamW = adam_like<to::AdamWOptions, to::AdamWParamState>("AdamW");

constexpr TorchClass kTorchSGD{
    "SGD",
    [](const to::OptimizerOptions& given) {
      const auto& o = static_cast<const to::SGDOptions&>(given);
      return Options{{"lr", o.lr()},
                     {"momentum", o.momentum()},
                     {"dampening", o.dampening()},
                     {"weight_decay", o.weight_decay()},
                     {"nesterov", o.nesterov()}};
    },
    [](to::OptimizerOptions& given, const Options& options) {
      auto& o = static_cast<to::SGDOptions&>(given);
      take(options, "lr", o.lr());
      take(options, "momentum", o.momentum());
      take(options, "dampening", o.dampening());
      take(options, "weight_decay", o.weight_decay());
      take(options, "nesterov", o.nesterov());
    },
    [](const to::OptimizerParamState& given) {
      State state;
      keep(state, "momentum_buffer", static_cast<const to::SGDParamState&>(given).momentum_buffer());
      return state;
    },
    [](const State& state) -> std::unique_ptr<to::OptimizerParamState> {
      auto s = std::make_unique<to::SGDParamState>();
      s->momentum_buffer(find(state, "momentum_buffer"));
      return s;
    },
    [](const Options& options) {
      return option(options, "momentum") != 0 ? std::vector<const char*>{"momentum_buffer"}
                                              : std::vector<const char*>{};
    }};

constexpr TorchClass kTorchRMSprop{"RMSprop",
                                   [](const to::OptimizerOptions& given) {
                                     const auto& o = static_cast<const to::RMSpropOptions&>(given);
                                     return Options{{"lr", o.lr()},
                                                    {"alpha", o.alpha()},
                                                    {"eps", o.eps()},
                                                    {"weight_decay", o.weight_decay()},
                                                    {"momentum", o.momentum()},
                                                    {"centered", o.centered()}};
                                   },
                                   [](to::OptimizerOptions& given, const Options& options) {
                                     auto& o = static_cast<to::RMSpropOptions&>(given);
                                     take(options, "lr", o.lr());
                                     take(options, "alpha", o.alpha());
                                     take(options, "eps", o.eps());
                                     take(options, "weight_decay", o.weight_decay());
                                     take(options, "momentum", o.momentum());
                                     take(options, "centered", o.centered());
                                   },
                                   [](const to::OptimizerParamState& given) {
                                     const auto& s = static_cast<const to::RMSpropParamState&>(given);
                                     State state{{"step", count_of(s.step())}};
                                     keep(state, "square_avg", s.square_avg());
                                     keep(state, "momentum_buffer", s.momentum_buffer());
                                     keep(state, "grad_avg", s.grad_avg());
                                     return state;
                                   },
                                   [](const State& state) -> std::unique_ptr<to::OptimizerParamState> {
                                     auto s = std::make_unique<to::RMSpropParamState>();
                                     s->step(step_of(state));
                                     s->square_avg(find(state, "square_avg"));
                                     s->momentum_buffer(find(state, "momentum_buffer"));
                                     s->grad_avg(find(state, "grad_avg"));
                                     return s;
                                   },
                                   [](const Options& options) {
                                     std::vector<const char*> names{"square_avg"};
                                     if (option(options, "momentum") > 0) names.push_back("momentum_buffer");
                                     if (flag(options, "centered")) names.push_back("grad_avg");
                                     return names;
                                   }};

constexpr TorchClass kTorchAdagrad{
    "Adagrad",
    [](const to::OptimizerOptions& given) {
      const auto& o = static_cast<const to::AdagradOptions&>(given);
      return Options{{"lr", o.lr()},
                     {"lr_decay", o.lr_decay()},
                     {"weight_decay", o.weight_decay()},
                     {"initial_accumulator_value", o.initial_accumulator_value()},
                     {"eps", o.eps()}};
    },
    [](to::OptimizerOptions& given, const Options& options) {
      auto& o = static_cast<to::AdagradOptions&>(given);
      take(options, "lr", o.lr());
      take(options, "lr_decay", o.lr_decay());
      take(options, "weight_decay", o.weight_decay());
      take(options, "initial_accumulator_value", o.initial_accumulator_value());
      take(options, "eps", o.eps());
    },
    [](const to::OptimizerParamState& given) {
      const auto& s = static_cast<const to::AdagradParamState&>(given);
      State state{{"step", count_of(s.step())}};
      keep(state, "sum", s.sum());
      return state;
    },
    [](const State& state) -> std::unique_ptr<to::OptimizerParamState> {
      auto s = std::make_unique<to::AdagradParamState>();
      s->step(step_of(state));
      s->sum(find(state, "sum"));
      return s;
    },
    [](const Options&) { return std::vector<const char*>{"sum"}; }};

std::vector<ParamGroup> groups_of(to::Optimizer& optimizer, const TorchClass& of) {
  std::vector<ParamGroup> groups;
  for (const auto& group : optimizer.param_groups())
    groups.push_back({group.params(), "", of.read(group.options())});
  return groups;
}

}  // namespace

TorchOptimizer::TorchOptimizer(std::shared_ptr<to::Optimizer> optimizer, const TorchClass& of)
    : Optimizer(groups_of(*optimizer, of), of.type, of.read(optimizer->defaults())),
      optimizer_(std::move(optimizer)),
      class_(of) {}

void TorchOptimizer::write_options() {
  for (std::size_t i = 0; i < groups_.size(); ++i)
    class_.write(optimizer_->param_groups()[i].options(), groups_[i].options);
}

void TorchOptimizer::step(const StepInputs& inputs) {
  const torch::NoGradGuard no_grad;
  if (inputs.found_inf.defined() && inputs.found_inf.item<float>() != 0) return;
  if (inputs.grad_scale.defined()) {
    for (const auto& parameter : parameters_)
      if (parameter.grad().defined()) parameter.mutable_grad().div_(inputs.grad_scale);
  }
  write_options();
  optimizer_->step();
}

torch::Tensor TorchOptimizer::step(const Closure& closure) {
  write_options();
  return optimizer_->step(closure);
}

void TorchOptimizer::add_param_group(ParamGroup group) {
  Optimizer::add_param_group(std::move(group));
  auto options = optimizer_->defaults().clone();
  class_.write(*options, groups_.back().options);
  optimizer_->add_param_group(to::OptimizerParamGroup(groups_.back().params, std::move(options)));
}

void TorchOptimizer::replace_parameter(const std::string& name, const StatePiece& piece) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (parameter_name(i) == name && optimizer_->state().count(parameters_[i].unsafeGetTensorImpl()) != 0)
      throw std::logic_error(
          type_name() + ": parameter \"" + name +
          "\" has a state already (it was stepped, or this is Adagrad), so it cannot be replaced");
  }
  Optimizer::replace_parameter(name, piece);
  for (std::size_t i = 0; i < groups_.size(); ++i) optimizer_->param_groups()[i].params() = groups_[i].params;
}

std::optional<State> TorchOptimizer::new_state(const torch::Tensor& parameter, const Options& options) const {
  State state;
  for (const auto* name : class_.names(options)) state.emplace(name, at::zeros_like(parameter));
  if (class_.type != kTorchSGD.type) state.emplace("step", host_number());
  return state;
}

OptimizerState TorchOptimizer::state_dict() const {
  auto result = Optimizer::state_dict();
  const auto& states = optimizer_->state();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto found = states.find(parameters_[i].unsafeGetTensorImpl());
    if (found == states.end()) continue;
    for (const auto& [name, tensor] : class_.state(*found->second))
      result.tensors.emplace(parameter_name(i) + "." + name, tensor);
  }
  return result;
}

std::function<void()> TorchOptimizer::stage_state_dict(const OptimizerState& state,
                                                       std::vector<std::string>& problems) {
  auto commit = Optimizer::stage_state_dict(state, problems);
  if (!commit) return {};
  return [this, commit = std::move(commit)] {
    commit();
    auto& states = optimizer_->state();
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      auto* key = parameters_[i].unsafeGetTensorImpl();
      if (!state_[i].empty())
        states[key] = class_.make(state_[i]);
      else if (class_.type != kTorchAdagrad.type)  // which has its state from the beginning, and relies on it
        states.erase(key);
      state_[i].clear();  // the state is torch's
    }
    write_options();
  };
}

std::shared_ptr<Optimizer> wrap(std::shared_ptr<to::Optimizer> optimizer) {
  if (optimizer == nullptr) throw std::invalid_argument("optim::wrap: the optimizer is null");
  const auto as = [&](const TorchClass& of) { return std::make_shared<TorchOptimizer>(optimizer, of); };
  if (dynamic_cast<to::SGD*>(optimizer.get())) return as(kTorchSGD);
  if (dynamic_cast<to::Adam*>(optimizer.get())) return as(kTorchAdam);
  if (dynamic_cast<to::AdamW*>(optimizer.get())) return as(kTorchAdamW);
  if (dynamic_cast<to::RMSprop*>(optimizer.get())) return as(kTorchRMSprop);
  if (dynamic_cast<to::Adagrad*>(optimizer.get())) return as(kTorchAdagrad);
  if (dynamic_cast<to::LBFGS*>(optimizer.get())) return wrap_lbfgs(std::move(optimizer));
  const auto& of = *optimizer;
  throw std::invalid_argument(
      "optim::wrap: the state of " + c10::demangle(typeid(of).name()) +
      " is not known: it takes torch::optim::SGD, Adam, AdamW, RMSprop, Adagrad and LBFGS; "
      "derive a class from rtrain::Optimizer for another");
}

}  // namespace rtrain::optim
