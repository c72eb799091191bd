// What the optimizers of this folder share: options that are checked by a table, and steps by lists of
// tensors that one call of a kernel takes together.
#pragma once

#include <rtrain/optim.h>

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace rtrain::optim {

using Tensors = std::vector<torch::Tensor>;
using Options = Optimizer::Options;

enum class Range { kAny, kAtLeast0, kAbove0, kAtLeast1, kAtMost0, kBelow1, kFraction, kWhole };

/// One option of an optimizer.
struct OptionRule {
  const char* name;
  Range range = Range::kAtLeast0;
  bool may_be_missing = false;
};

/// What a kind of optimizer is.
struct Kind {
  const char* type;
  std::vector<OptionRule> options;
  /// What is wrong with options that are right one by one; empty: nothing. nullptr: nothing ever.
  std::string (*fault)(const Options&) = nullptr;
};

/// Parameters of one group, device and type that have a gradient.
struct Stepped {
  std::vector<std::size_t> numbers;
  Tensors parameters;
  Tensors gradients;   ///< detached, laid out as the parameters
  torch::Tensor lr{};  ///< undefined: the option
};

/// An optimizer of a Kind.
class Grouped : public Optimizer {
 public:
  /// @lifetime `kind` is static.
  Grouped(const Kind& kind, std::vector<ParamGroup> groups, Options defaults);

  using Optimizer::step;
  void step(const StepInputs& inputs) final;
  [[nodiscard]] bool is_elementwise() const override { return true; }
  void add_param_group(ParamGroup group) override;
  [[nodiscard]] bool read_lr_from(std::vector<torch::Tensor> by_group) override;

 protected:
  /// @param inputs undefined but for the fused kinds.
  virtual void update(const Options& options, Stepped& batch, const StepInputs& inputs) = 0;
  /// Gradients are sparse, and coalesced in `batch`, or they are not: the others are refused.
  [[nodiscard]] virtual bool takes_sparse() const { return false; }
  /// The kernel takes StepInputs itself.
  [[nodiscard]] virtual bool is_fused() const { return false; }
  void check_group(const ParamGroup& group, const std::string& place) const override;

  /// The state of a parameter, made at its first step.
  [[nodiscard]] ParameterState& state_of(std::size_t number, const Options& options);
  /// One state tensor of each parameter.
  [[nodiscard]] Tensors state_list(const Stepped& batch, const char* name);
  /// Counts the step of each parameter in its state "step" on the host. @return the counts, which begin
  /// with 1.
  [[nodiscard]] std::vector<double> count_steps(const Stepped& batch);

 private:
  /// Options of other names are refused where a user gives them; a scheduler may add its own later.
  void check_names(const ParamGroup& group, const std::string& place) const;
  const Kind& kind_;
  Tensors lr_;  ///< by group; empty: the options have it
};

/// A count as PyTorch keeps it: a float32 scalar, here on the host.
[[nodiscard]] torch::Tensor host_number(double value = 0);
/// The same on the device of a parameter: what a fused kernel reads without a synchronization.
[[nodiscard]] torch::Tensor device_number(const torch::Tensor& parameter);

[[nodiscard]] inline double option(const Options& options, const char* name) { return options.at(name); }
[[nodiscard]] inline bool flag(const Options& options, const char* name) { return options.at(name) != 0; }

/// Calls `kernel` with the learning rate as a tensor or as a number.
template <class Kernel>
void with_lr(const Options& options, const Stepped& batch, Kernel kernel) {
  if (batch.lr.defined())
    kernel(batch.lr);
  else
    kernel(option(options, "lr"));
}

/// Negated gradients for maximize, then weight decay: added to the gradients, or with `decoupled` taken off
/// the parameters. Leaves the gradients of the parameters alone.
void prepare(const Options& options, Stepped& batch, bool decoupled = false);
/// averages = decay averages + (1 - decay) x^2.
void average_squares(Tensors& averages, const Tensors& x, double decay);

}  // namespace rtrain::optim
