// Groups, names and the state of every optimizer.
#include <rtrain/optimizer.h>

#include "worker/optim/unique.h"

#include <ATen/ops/empty_like.h>
#include <c10/util/Type.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <cmath>
#include <set>
#include <stdexcept>
#include <typeinfo>
#include <utility>

namespace rtrain {
namespace {

/// What stands beside the options in the JSON of a group.
constexpr const char* kName = "name";
constexpr const char* kParameters = "parameters";

std::vector<ParamGroup> one_group(std::vector<torch::Tensor> parameters) {
  return {ParamGroup{std::move(parameters)}};
}

/// A saved tensor in the place of `fresh`; undefined when it does not fit, and then `fault` says why.
/// @param parameter what `fresh` is the state of.
torch::Tensor fitted(const torch::Tensor& fresh, const StatePiece& saved, const StatePiece& parameter,
                     std::string& fault) {
  if (!saved.tensor.defined()) return fault = "is undefined", torch::Tensor();
  if (fresh.dim() == 0) {
    if (saved.tensor.numel() != 1) return fault = "is no single number", torch::Tensor();
    return at::empty_like(fresh).copy_(saved.tensor.reshape({}));
  }
  const auto own = parameter.of(fresh);
  if (saved.shape != own.shape) {
    fault = "has shape " + c10::str(c10::IntArrayRef(saved.shape)) + ", the parameter has " +
            c10::str(c10::IntArrayRef(own.shape));
    return {};
  }
  return at::empty_like(fresh).copy_(saved.elements_of(own));
}

/// A saved tensor of an optimizer that does not say what its state is made of.
torch::Tensor as_saved(const torch::Tensor& parameter, const torch::Tensor& saved) {
  return saved.dim() == 0 ? saved.clone()
                          : saved.to(parameter.device(), /*non_blocking=*/false, /*copy=*/true);
}

}  // namespace

Optimizer::Optimizer(std::vector<torch::Tensor> parameters) : Optimizer(one_group(std::move(parameters))) {}

Optimizer::Optimizer(std::vector<ParamGroup> groups, std::string type, Options defaults)
    : defaults_(std::move(defaults)), type_(std::move(type)) {
  const auto name = type_.empty() ? std::string("Optimizer") : type_;
  const bool one = groups.size() == 1;
  for (std::size_t i = 0; i < groups.size(); ++i)
    adopt(std::move(groups[i]), one ? name : name + ": group " + std::to_string(i));
  if (parameters_.empty()) {
    throw std::invalid_argument(
        name +
        ": got no parameters; a layer belongs to its model only when it was registered: "
        "register_module(\"layer\", ...)");
  }
}

void Optimizer::adopt(ParamGroup group, const std::string& place) {
  group.params = unique(group.params);
  std::set<const void*> taken;
  for (const auto& parameter : given_) taken.insert(parameter.unsafeGetTensorImpl());
  for (std::size_t i = 0; i < group.params.size(); ++i) {
    const auto& p = group.params[i];
    const auto what = place + ": parameter " + std::to_string(i);
    if (!p.defined()) throw std::invalid_argument(what + " is undefined");
    if (!p.is_leaf())
      throw std::invalid_argument(what + " is the result of an operation; only leaves can be optimized");
    if (taken.contains(p.unsafeGetTensorImpl()))
      throw std::invalid_argument(what + " is in an earlier group already: a parameter belongs to one group");
  }
  group.options.insert(defaults_.begin(), defaults_.end());
  for (const auto& p : group.params) {
    names_.push_back(std::to_string(parameters_.size()));
    parameters_.push_back(p);
    given_.push_back(p);
  }
  ++tensor_changes_;
  state_.resize(parameters_.size());
  parts_.resize(parameters_.size());
  groups_.push_back(std::move(group));
}

std::string Optimizer::type_name() const {
  return type_.empty() ? c10::demangle(typeid(*this).name()) : type_;
}

torch::Tensor Optimizer::step(const Closure& closure) {
  torch::Tensor loss;
  {
    const torch::AutoGradMode with_gradients(true);
    loss = closure();
  }
  step();
  return loss;
}

void Optimizer::zero_grad(bool set_to_none) {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : parameters_) {
    auto& gradient = parameter.mutable_grad();
    if (!gradient.defined()) continue;
    if (set_to_none) {
      gradient.reset();
    } else {
      if (gradient.grad_fn())
        gradient.detach_();
      else
        gradient.set_requires_grad(false);
      gradient.zero_();
    }
  }
}

double Optimizer::lr(int group) const {
  const auto& options = groups_.at(static_cast<std::size_t>(group)).options;
  const auto found = options.find("lr");
  if (found == options.end())
    throw std::logic_error(place_of(static_cast<std::size_t>(group)) + " has no option \"lr\"");
  return found->second;
}

void Optimizer::set_lr(double lr, int group) {
  if (!(lr >= 0))
    throw std::invalid_argument(type_name() + ": lr must be 0 or more, found " + std::to_string(lr));
  if (group >= 0) {
    groups_.at(static_cast<std::size_t>(group)).options["lr"] = lr;
  } else {
    for (auto& each : groups_) each.options["lr"] = lr;
  }
}

void Optimizer::add_param_group(ParamGroup group) {
  const auto place = type_name() + ": the new group";
  if (group.params.empty()) throw std::invalid_argument(place + " has no parameters");
  auto complete = group;
  complete.options.insert(defaults_.begin(), defaults_.end());
  check_group(complete, place);
  adopt(std::move(group), place);
}

void Optimizer::check_group(const ParamGroup&, const std::string&) const {}

std::optional<Optimizer::ParameterState> Optimizer::new_state(const torch::Tensor&, const Options&) const {
  return std::nullopt;
}

std::size_t Optimizer::first_of(std::size_t group) const {
  std::size_t first = 0;
  for (std::size_t i = 0; i < group; ++i) first += groups_[i].params.size();
  return first;
}

std::string Optimizer::place_of(std::size_t group) const {
  if (groups_.size() == 1) return type_name();
  const auto& name = groups_.at(group).name;
  return type_name() + ": group " + std::to_string(group) + (name.empty() ? "" : " (" + name + ")");
}

void Optimizer::name_parameters(const torch::OrderedDict<std::string, torch::Tensor>& named) {
  std::map<const void*, std::string> by_tensor;
  for (const auto& item : named) {
    if (item.value().defined()) by_tensor.emplace(item.value().unsafeGetTensorImpl(), item.key());
  }
  auto names = names_;
  std::map<std::string, std::size_t> numbers;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto found = by_tensor.find(given_[i].unsafeGetTensorImpl());
    if (found != by_tensor.end()) names[i] = found->second;
    const auto [other, is_new] = numbers.emplace(names[i], i);
    if (!is_new) {
      throw std::invalid_argument(type_name() + ": parameters " + std::to_string(other->second) + " and " +
                                  std::to_string(i) + " would both be called \"" + names[i] + "\"");
    }
  }
  names_ = std::move(names);
}

void Optimizer::replace_parameter(const std::string& name, const StatePiece& piece) {
  const auto& tensor = piece.tensor;
  const auto refuse = [&](const std::string& what) {
    throw std::invalid_argument(type_name() + ": parameter \"" + name + "\" " + what);
  };
  std::size_t number = 0;
  while (number < names_.size() && names_[number] != name) ++number;
  if (number == names_.size()) refuse("cannot be replaced: the optimizer has none of that name");
  if (!tensor.defined() || !tensor.is_leaf()) refuse("cannot be replaced by what is no leaf tensor");
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (i != number && parameters_[i].is_same(tensor))
      refuse("cannot be replaced by parameter \"" + names_[i] + "\"");
  }
  if (!state_[number].empty()) {
    throw std::logic_error(
        type_name() + ": parameter \"" + name +
        "\" was stepped already, so its state belongs to the tensor it was: replace it before the "
        "first step");
  }
  std::size_t group = 0, within = number;
  while (within >= groups_[group].params.size()) within -= groups_[group++].params.size();
  ++tensor_changes_;
  groups_[group].params[within] = tensor;
  parameters_[number] = tensor;
  parts_[number] = piece.is_part ? piece : StatePiece();
}

OptimizerState Optimizer::state_dict() const {
  OptimizerState result{type_name()};
  for (std::size_t i = 0; i < state_.size(); ++i) {
    const auto& part = parts_[i];
    for (const auto& [name, tensor] : state_[i]) {
      const bool is_part = part.is_part && tensor.sizes() == parameters_[i].sizes();
      result.tensors.emplace(names_[i] + "." + name, is_part ? part.of(tensor) : StatePiece(tensor));
    }
  }
  std::size_t number = 0;
  for (const auto& group : groups_) {
    nlohmann::json json = group.options;
    if (json.is_null()) json = nlohmann::json::object();
    json[kName] = group.name;
    auto& parameters = json[kParameters] = nlohmann::json::array();
    for (std::size_t i = 0; i < group.params.size(); ++i) parameters.push_back(names_[number++]);
    result.groups.push_back(std::move(json));
  }
  return result;
}

void Optimizer::load_state_dict(const OptimizerState& state) {
  std::vector<std::string> problems;
  const auto commit = stage_state_dict(state, problems);
  if (problems.empty()) return commit();
  std::string text = type_name() + ": the state does not fit:";
  for (const auto& problem : problems) text += "\n  " + problem;
  throw std::invalid_argument(text);
}

std::function<void()> Optimizer::stage_state_dict(const OptimizerState& state,
                                                  std::vector<std::string>& problems) {
  const torch::NoGradGuard no_grad;
  if (!state.type.empty() && state.type != type_name()) {
    problems.push_back("it is the state of " + state.type + ", this is " + type_name());
    return {};
  }
  if (!state.groups.is_array() || state.groups.size() != groups_.size()) {
    problems.push_back(
        "the state has " +
        (state.groups.is_array() ? std::to_string(state.groups.size()) : std::string("no list of")) +
        " parameter group(s), the optimizer has " + std::to_string(groups_.size()));
    return {};
  }
  const auto before = problems.size();
  std::map<std::string, std::size_t> numbers;
  for (std::size_t i = 0; i < names_.size(); ++i) numbers.emplace(names_[i], i);

  std::vector<Options> options;
  std::vector<std::size_t> group_of;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    group_of.resize(group_of.size() + groups_[g].params.size(), g);
    const auto& saved = state.groups[g];
    const auto place = "group " + std::to_string(g);
    auto candidate = groups_[g];
    std::set<std::string> listed;
    if (!saved.is_object()) problems.push_back(place + " is no JSON object");
    for (const auto& item : saved.items()) {
      if (item.key() == kParameters && item.value().is_array()) {
        for (const auto& name : item.value())
          if (name.is_string()) listed.insert(name.get<std::string>());
      } else if (item.value().is_number()) {
        candidate.options[item.key()] = item.value().get<double>();
      }
    }
    try {
      check_group(candidate, place);
    } catch (const std::invalid_argument& e) {
      problems.emplace_back(e.what());
    }
    options.push_back(std::move(candidate.options));
    if (!saved.is_object() || !saved.contains(kParameters)) continue;  // files before version 3
    for (const auto& name : listed)
      if (!numbers.contains(name))
        problems.push_back(place + " had the parameter \"" + name + "\", which is none of this optimizer");
    for (std::size_t i = 0; i < groups_[g].params.size(); ++i) {
      const auto& name = names_[first_of(g) + i];
      if (!listed.contains(name)) problems.push_back(place + " had no parameter \"" + name + "\"");
    }
  }

  std::vector<StateTree> saved(parameters_.size());
  for (const auto& [key, tensor] : state.tensors) {
    const auto dot = key.rfind('.');
    const auto owner = dot == std::string::npos ? numbers.end() : numbers.find(key.substr(0, dot));
    if (owner == numbers.end())
      problems.push_back("the state has an unknown entry \"" + key + "\"");
    else
      saved[owner->second].emplace(key.substr(dot + 1), tensor);
  }
  std::vector<ParameterState> loaded(parameters_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (saved[i].empty()) continue;  // never stepped
    auto fresh = new_state(parameters_[i], options[group_of[i]]);
    if (!fresh) {
      for (const auto& [name, piece] : saved[i])
        if (piece.tensor.defined()) loaded[i].emplace(name, as_saved(parameters_[i], piece));
      continue;
    }
    for (const auto& [name, tensor] : *fresh) {
      const auto key = names_[i] + "." + name;
      const auto entry = saved[i].find(name);
      std::string fault;
      if (entry == saved[i].end())
        problems.push_back("the state lacks \"" + key + "\"");
      else if (auto fits = fitted(tensor, entry->second, parts_[i], fault); fault.empty())
        loaded[i].emplace(name, std::move(fits));
      else
        problems.push_back("the state's \"" + key + "\" " + fault);
    }
    for (const auto& [name, tensor] : saved[i]) {
      if (!fresh->contains(name))
        problems.push_back("the state has an unknown entry \"" + names_[i] + "." + name + "\"");
    }
  }
  if (problems.size() != before) return {};
  return [this, loaded = std::move(loaded), options = std::move(options)]() mutable {
    ++tensor_changes_;
    state_ = std::move(loaded);
    for (std::size_t g = 0; g < groups_.size(); ++g) groups_[g].options = std::move(options[g]);
  };
}

}  // namespace rtrain
