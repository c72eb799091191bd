#include <rtrain/optim.h>

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <cmath>
#include <set>
#include <stdexcept>
#include <utility>

namespace rtrain::optim {
namespace {

using Tensors = std::vector<torch::Tensor>;

void require(bool holds, const char* optimizer, const std::string& what) {
  if (!holds) throw std::invalid_argument(std::string(optimizer) + ": " + what);
}
std::string found(double value) { return ", found " + std::to_string(value); }

/// The fused kernels walk parameter, gradient and state by memory order, so all must be laid out alike.
torch::Tensor laid_out_like(const torch::Tensor& parameter, const torch::Tensor& tensor) {
  return tensor.strides() == parameter.strides() && tensor.scalar_type() == parameter.scalar_type()
             ? tensor
             : at::empty_like(parameter).copy_(tensor);
}

torch::Tensor dense_gradient(const torch::Tensor& parameter, const char* optimizer) {
  const auto& gradient = parameter.grad();
  require(gradient.layout() == at::kStrided, optimizer, "sparse gradients are not supported");
  return laid_out_like(parameter, gradient.detach());
}

/// State tensors of one parameter by PyTorch's names. Which exist: Derived says (`state_names`).
using ParameterState = std::map<std::string, torch::Tensor>;

/// What all three share: the checks, the learning rate, and a state by parameter number that saves and loads.
class Fused : public Optimizer {
 public:
  Fused(const char* name, Tensors parameters, double lr)
      : Optimizer(std::move(parameters)), name_(name), lr_(lr), state_(parameters_.size()) {
    require(!parameters_.empty(), name_,
            "got no parameters; a layer belongs to its model only when it was registered: "
            "register_module(\"layer\", ...)");
    require(lr >= 0, name_, "lr must be 0 or more" + found(lr));
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const auto& p = parameters_[i];
      const auto number = "parameter " + std::to_string(i);
      require(p.defined(), name_, number + " is undefined");
      require(p.is_leaf(), name_, number + " is the result of an operation; only leaves can be optimized");
      require(p.is_floating_point(), name_, number + " holds no floating-point numbers");
      require(p.is_non_overlapping_and_dense(), name_, number + " is not dense in memory");
    }
  }

  [[nodiscard]] double lr() const final { return lr_; }
  void set_lr(double lr) final {
    require(lr >= 0, name_, "lr must be 0 or more" + found(lr));
    lr_ = lr;
  }

  [[nodiscard]] std::map<std::string, torch::Tensor> state_dict() const final {
    std::map<std::string, torch::Tensor> state{{"lr", at::scalar_tensor(lr_, at::kDouble)}};
    for (std::size_t i = 0; i < state_.size(); ++i) {
      for (const auto& [name, tensor] : state_[i]) state.emplace(std::to_string(i) + "." + name, tensor);
    }
    return state;
  }

  void load_state_dict(const std::map<std::string, torch::Tensor>& state) final {
    const torch::NoGradGuard no_grad;
    const auto lr = state.find("lr");
    require(lr != state.end() && lr->second.numel() == 1, name_, "the state has no number \"lr\"");
    const double new_lr = lr->second.to(at::kDouble).item<double>();
    require(new_lr >= 0, name_, "lr must be 0 or more" + found(new_lr));
    std::vector<ParameterState> loaded(parameters_.size());
    std::size_t used = 1;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const auto prefix = std::to_string(i) + ".";
      const auto first = state.lower_bound(prefix);
      // never stepped
      if (first == state.end() || first->first.compare(0, prefix.size(), prefix) != 0) continue;
      for (const auto& name : state_names()) {
        const auto entry = state.find(prefix + name);
        require(entry != state.end(), name_, "the state lacks \"" + prefix + name + "\"");
        loaded[i].emplace(name, load_one(parameters_[i], entry->first, name, entry->second));
        ++used;
      }
    }
    if (used != state.size()) {
      for (const auto& [key, tensor] : state) {
        const auto dot = key.find('.');
        const auto known =
            key == "lr" || (dot != std::string::npos && is_number_of_parameter(key.substr(0, dot)) &&
                            state_names().contains(key.substr(dot + 1)));
        require(known, name_, "the state has an unknown entry \"" + key + "\"");
      }
    }
    lr_ = new_lr;
    state_ = std::move(loaded);
  }

  void step() final {
    const torch::NoGradGuard no_grad;
    // One kernel call takes tensors of one device and type.
    std::map<std::pair<std::string, at::ScalarType>, std::vector<std::size_t>> groups;
    const auto& front = parameters_.front();
    // the usual case, without a lookup a parameter: everything is like the first
    std::vector<std::size_t> alike;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const auto& p = parameters_[i];
      if (!p.grad().defined()) continue;
      if (p.device() == front.device() && p.scalar_type() == front.scalar_type()) {
        alike.push_back(i);
      } else {
        groups[{p.device().str(), p.scalar_type()}].push_back(i);
      }
    }
    if (!alike.empty()) step_group(alike);
    for (const auto& [key, group] : groups) step_group(group);
  }

 protected:
  /// The names a parameter has state under once it was stepped.
  [[nodiscard]] virtual const std::set<std::string>& state_names() const = 0;
  virtual void step_group(const std::vector<std::size_t>& group) = 0;

  const char* name_;
  double lr_;
  std::vector<ParameterState> state_;  ///< by parameter number; empty until stepped

 private:
  [[nodiscard]] bool is_number_of_parameter(const std::string& text) const {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (text == std::to_string(i)) return true;
    }
    return false;
  }
  [[nodiscard]] torch::Tensor load_one(const torch::Tensor& parameter, const std::string& key,
                                       const std::string& name, const torch::Tensor& saved) const {
    require(saved.defined(), name_, "the state's \"" + key + "\" is undefined");
    if (name == "step") {
      require(saved.numel() == 1, name_, "the state's \"" + key + "\" is no single number");
      return at::zeros({}, parameter.options().dtype(at::kFloat).requires_grad(false))
          .copy_(saved.reshape({}));
    }
    require(saved.sizes() == parameter.sizes(), name_,
            "the state's \"" + key + "\" has shape " + c10::str(saved.sizes()) + ", the parameter has " +
                c10::str(parameter.sizes()));
    return at::empty_like(parameter).copy_(saved);
  }
};

struct AdamArguments {
  double beta1, beta2, eps, weight_decay;
  bool amsgrad, maximize;
};

class FusedAdam final : public Fused {
 public:
  FusedAdam(const char* name, Tensors parameters, double lr, const AdamArguments& arguments, bool decoupled)
      : Fused(name, std::move(parameters), lr), arguments_(arguments), decoupled_(decoupled) {
    require(arguments_.beta1 >= 0 && arguments_.beta1 < 1, name,
            "beta1 must be in [0, 1)" + found(arguments_.beta1));
    require(arguments_.beta2 >= 0 && arguments_.beta2 < 1, name,
            "beta2 must be in [0, 1)" + found(arguments_.beta2));
    require(arguments_.eps >= 0, name, "eps must be 0 or more" + found(arguments_.eps));
    require(arguments_.weight_decay >= 0, name,
            "weight_decay must be 0 or more" + found(arguments_.weight_decay));
    if (arguments_.amsgrad) names_.insert("max_exp_avg_sq");
  }

 protected:
  [[nodiscard]] const std::set<std::string>& state_names() const override { return names_; }

  void step_group(const std::vector<std::size_t>& group) override {
    Tensors parameters, gradients, averages, squares, max_squares, steps;
    for (auto* list : {&parameters, &gradients, &averages, &squares, &steps}) list->reserve(group.size());
    for (const auto i : group) {
      const auto& p = parameters_[i];
      auto& state = state_[i];
      if (state.empty()) {
        // A float32 count on the parameter's device: what the kernel reads without a synchronization.
        state.emplace("step", at::zeros({}, p.options().dtype(at::kFloat).requires_grad(false)));
        for (const auto& name : names_) {
          if (name != "step") state.emplace(name, at::zeros_like(p));
        }
      }
      parameters.push_back(p);
      gradients.push_back(dense_gradient(p, name_));
      averages.push_back(state.at("exp_avg"));
      squares.push_back(state.at("exp_avg_sq"));
      if (arguments_.amsgrad) max_squares.push_back(state.at("max_exp_avg_sq"));
      steps.push_back(state.at("step"));
    }
    at::_foreach_add_(steps, 1);
    const auto& a = arguments_;
    if (decoupled_) {
      at::_fused_adamw_(parameters, gradients, averages, squares, max_squares, steps, lr_, a.beta1, a.beta2,
                        a.weight_decay, a.eps, a.amsgrad, a.maximize);
    } else {
      at::_fused_adam_(parameters, gradients, averages, squares, max_squares, steps, lr_, a.beta1, a.beta2,
                       a.weight_decay, a.eps, a.amsgrad, a.maximize);
    }
  }

 private:
  AdamArguments arguments_;
  bool decoupled_;
  std::set<std::string> names_{"step", "exp_avg", "exp_avg_sq"};
};

class FusedSGD final : public Fused {
 public:
  FusedSGD(Tensors parameters, const SGDOptions& options)
      : Fused("SGD", std::move(parameters), options.lr), options_(options) {
    require(options.momentum >= 0, name_, "momentum must be 0 or more" + found(options.momentum));
    require(options.weight_decay >= 0, name_, "weight_decay must be 0 or more" + found(options.weight_decay));
    require(!options.nesterov || (options.momentum > 0 && options.dampening == 0), name_,
            "nesterov needs a momentum and no dampening");
    if (options.momentum != 0) names_.insert("momentum_buffer");
  }

 protected:
  [[nodiscard]] const std::set<std::string>& state_names() const override { return names_; }

  void step_group(const std::vector<std::size_t>& group) override {
    if (options_.momentum == 0) return run(group, false);
    // The kernel fills the buffers of a first step and updates the others': a parameter whose first gradient
    // comes late goes apart.
    std::vector<std::size_t> fresh, seasoned;
    for (const auto i : group) (state_[i].empty() ? fresh : seasoned).push_back(i);
    for (const auto i : fresh) state_[i].emplace("momentum_buffer", at::empty_like(parameters_[i]));
    if (!fresh.empty()) run(fresh, true);
    if (!seasoned.empty()) run(seasoned, false);
  }

 private:
  void run(const std::vector<std::size_t>& group, bool is_first_step) {
    Tensors parameters, gradients, buffers;
    for (const auto i : group) {
      parameters.push_back(parameters_[i]);
      gradients.push_back(dense_gradient(parameters_[i], name_));
      if (options_.momentum != 0) buffers.push_back(state_[i].at("momentum_buffer"));
    }
    at::_fused_sgd_(parameters, gradients, buffers, options_.weight_decay, options_.momentum, lr_,
                    options_.dampening, options_.nesterov, options_.maximize, is_first_step);
  }
  SGDOptions options_;
  std::set<std::string> names_;
};

}  // namespace

std::shared_ptr<Optimizer> Adam(std::vector<torch::Tensor> parameters, AdamOptions o) {
  return std::make_shared<FusedAdam>(
      "Adam", std::move(parameters), o.lr,
      AdamArguments{o.beta1, o.beta2, o.eps, o.weight_decay, o.amsgrad, o.maximize}, false);
}
std::shared_ptr<Optimizer> AdamW(std::vector<torch::Tensor> parameters, AdamWOptions o) {
  return std::make_shared<FusedAdam>(
      "AdamW", std::move(parameters), o.lr,
      AdamArguments{o.beta1, o.beta2, o.eps, o.weight_decay, o.amsgrad, o.maximize}, true);
}
std::shared_ptr<Optimizer> SGD(std::vector<torch::Tensor> parameters, SGDOptions options) {
  return std::make_shared<FusedSGD>(std::move(parameters), options);
}

}  // namespace rtrain::optim
