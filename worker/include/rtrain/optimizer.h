// The base of all optimizers: parameter groups, options by name, and a state by parameter name.
#pragma once

#include <rtrain/export.h>
#include <rtrain/state_tree.h>

#include <c10/util/Exception.h>  // ordered_dict.h needs it, and does not include it
#include <torch/ordered_dict.h>
#include <torch/types.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace rtrain {

/// Parameters that share their options. The options are numbers by name ("lr", "weight_decay", "momentum",
/// "beta1", flags as 0 and 1), so that schedulers and monitors write and read them without knowing the
/// optimizer.
struct RTRAIN_API ParamGroup {
  std::vector<torch::Tensor> params{};
  std::string name{};  ///< for monitors and messages; may be empty
  /// What differs from the optimizer's own options; the optimizer fills in the rest.
  std::map<std::string, double> options{};
};

/// What mixed precision hands to a step. Both are float32 scalars on the device of the parameters; undefined:
/// none.
struct RTRAIN_API StepInputs {
  torch::Tensor grad_scale{};  ///< gradients are divided by it
  /// Not 0: parameters and state stay as they are. The fused kernels (SGD, Adam, AdamW, Adagrad) read it on
  /// the device, the other optimizers on the host, which waits for the device.
  torch::Tensor found_inf{};
};

/// Computes the loss and its gradients anew, and returns the loss.
using Closure = std::function<torch::Tensor()>;

/// What a checkpoint holds of one optimizer.
struct RTRAIN_API OptimizerState {
  std::string type{};  ///< Optimizer::type_name(); empty: not known (files before version 3)
  /// By "<parameter name>.<state name>": "layer.weight.exp_avg". State names are PyTorch's.
  StateTree tensors{};
  /// A list of {"name", "parameters": [names], and each option by its name}.
  nlohmann::json groups = nlohmann::json::array();
};

/// One optimizer over groups of parameters. Steps parameters that have a gradient; skips the others, as
/// PyTorch does. A class of one's own overrides step(const StepInputs&), keeps what it remembers of parameter
/// number i in state_[i], and so has a state in checkpoints.
/// @thread one thread at a time.
class RTRAIN_API Optimizer {
 public:
  using Options = std::map<std::string, double>;
  /// The state tensors of one parameter by PyTorch's names; empty until it was stepped.
  using ParameterState = std::map<std::string, torch::Tensor>;

  /// One group without options. A tensor that is listed several times in a group (a layer that is used in two
  /// places of the model) counts once, at its first place.
  explicit Optimizer(std::vector<torch::Tensor> parameters);
  /// @param type as in messages and checkpoints; empty: the name of the class.
  /// @param defaults options of every group that says nothing else.
  /// @throws std::invalid_argument no parameters, a parameter that is undefined, no leaf, or in two groups.
  explicit Optimizer(std::vector<ParamGroup> groups, std::string type = "", Options defaults = {});
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = default;
  Optimizer(Optimizer&&) noexcept = default;
  Optimizer& operator=(const Optimizer&) = default;
  Optimizer& operator=(Optimizer&&) noexcept = default;

  virtual void step(const StepInputs& inputs = {}) = 0;
  /// PyTorch's step(closure): calls `closure` (with gradients enabled), then step(). LBFGS calls it many
  /// times.
  /// @return the first loss.
  virtual torch::Tensor step(const Closure& closure);
  /// True: what a step does to one element of a parameter depends only on that element's gradient and state,
  /// so that a part of a parameter can be stepped alone. A class of one's own of which that is true says so.
  [[nodiscard]] virtual bool is_elementwise() const { return false; }
  /// Only step(closure) works: LBFGS.
  [[nodiscard]] virtual bool needs_closure() const { return false; }
  /// @param set_to_none false: gradients keep their memory and are filled with 0.
  void zero_grad(bool set_to_none = true);

  /// "AdamW": the type in messages and checkpoints.
  [[nodiscard]] std::string type_name() const;
  /// Options may be changed and added here and hold from the next step on; params only change through
  /// add_param_group() and replace_parameter(). @lifetime until the next add_param_group().
  [[nodiscard]] std::span<ParamGroup> groups() { return groups_; }
  [[nodiscard]] std::span<const ParamGroup> groups() const { return groups_; }
  /// Those of all groups, each once. Their order is their number.
  [[nodiscard]] const std::vector<torch::Tensor>& parameters() const { return parameters_; }
  /// The same as the module has them: before replace_parameter() put a part in the place of some.
  [[nodiscard]] const std::vector<torch::Tensor>& module_parameters() const { return given_; }
  /// @throws std::out_of_range no such group; std::logic_error a group without the option "lr".
  [[nodiscard]] double lr(int group = 0) const;
  /// @param group -1: all groups get `lr`. @throws std::invalid_argument lr below 0 or not a number;
  /// std::out_of_range no such group.
  void set_lr(double lr, int group = -1);
  /// @throws std::invalid_argument as the constructor does; nothing is changed then.
  virtual void add_param_group(ParamGroup group);

  /// For steps that are recorded once and repeated (CUDA graphs): from now on step() reads the learning rate
  /// of group i from `by_group[i]`, a scalar on the device of its parameters, in the place of the option
  /// "lr"; empty: from the option again.
  /// @return false: the optimizer cannot, or decides on the host in other ways. Nothing is changed then.
  [[nodiscard]] virtual bool read_lr_from(std::vector<torch::Tensor> by_group) { return by_group.empty(); }
  /// Counts what puts other tensors in the place of the optimizer's: add_param_group(), replace_parameter(),
  /// load_state_dict().
  [[nodiscard]] std::uint64_t tensor_changes() const { return tensor_changes_; }

  /// Gives parameters the names under which state_dict() has their state. A parameter that is not in `named`
  /// keeps the name it had; without any it is called by its number ("0"). The Trainer calls this with
  /// module->named_parameters(). Of several names of one tensor the first counts.
  /// @throws std::invalid_argument two parameters would have one name; nothing is changed then.
  virtual void name_parameters(const torch::OrderedDict<std::string, torch::Tensor>& named);
  [[nodiscard]] const std::string& parameter_name(std::size_t number) const { return names_.at(number); }
  /// Puts `piece` in the place of the parameter called `name`; name, number and group stay. For strategies
  /// that train a part of a parameter: state_dict() then has that part of its state, and load_state_dict()
  /// takes that part of a whole one.
  /// @throws std::invalid_argument no such parameter, or the tensor is no leaf; std::logic_error it was
  /// stepped already.
  virtual void replace_parameter(const std::string& name, const StatePiece& piece);

  /// The tensors are the optimizer's own: copy what must not change with the next step.
  [[nodiscard]] virtual OptimizerState state_dict() const;
  /// Copies `state` in. Options of groups come from `state`, too, as in PyTorch; those it does not have stay.
  /// @throws std::invalid_argument all that does not fit in one message; nothing is changed then.
  void load_state_dict(const OptimizerState& state);
  /// The first half of load_state_dict(): adds what does not fit to `problems`. @return the second half,
  /// which makes the checked state the optimizer's own and cannot fail; only to be called when there are no
  /// problems. So several optimizers can be loaded together or not at all.
  [[nodiscard]] virtual std::function<void()> stage_state_dict(const OptimizerState& state,
                                                               std::vector<std::string>& problems);

 protected:
  /// @throws std::invalid_argument an option of `group` is unknown or out of range. `place` begins the
  /// message.
  virtual void check_group(const ParamGroup& group, const std::string& place) const;
  /// The state of a parameter at its first step; load_state_dict() takes types, shapes and devices from it.
  /// nullopt: state_ may hold anything, and is loaded as it was saved, on the parameter's device.
  [[nodiscard]] virtual std::optional<ParameterState> new_state(const torch::Tensor& parameter,
                                                                const Options& options) const;
  /// The number of the first parameter of a group; those of a group follow each other.
  [[nodiscard]] std::size_t first_of(std::size_t group) const;
  /// "AdamW: group 1 (no_decay)"; only the type when there is one group.
  [[nodiscard]] std::string place_of(std::size_t group) const;

  std::vector<ParamGroup> groups_;
  std::vector<torch::Tensor> parameters_;  ///< of all groups, by number
  std::vector<ParameterState> state_;      ///< by number
  Options defaults_;

 private:
  void adopt(ParamGroup group, const std::string& place);

  std::string type_;
  std::uint64_t tensor_changes_ = 0;
  std::vector<std::string> names_;    ///< by number
  std::vector<StatePiece> parts_;     ///< by number; `is_part` false: the parameter is whole
  std::vector<torch::Tensor> given_;  ///< by number
};

}  // namespace rtrain
