// Optimizers that divide by the root of a running average of squares, on lists of tensors: RMSprop (Tieleman
// and Hinton 2012; centered: Graves, arXiv 1308.0850) and Adadelta (Zeiler, arXiv 1212.5701).
#include "worker/optim/grouped.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/zeros_like.h>

namespace rtrain::optim {
namespace {

const Kind kRMSprop{"RMSprop",
                    {{"lr"}, {"alpha"}, {"eps"}, {"weight_decay"}, {"momentum"}, {"centered"}, {"maximize"}}};
const Kind kAdadelta{"Adadelta",
                     {{"lr"}, {"rho", Range::kFraction}, {"eps"}, {"weight_decay"}, {"maximize"}}};

class RMSpropLists final : public Grouped {
 public:
  using Grouped::Grouped;

 protected:
  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options& options) const override {
    ParameterState state{{"step", host_number()}, {"square_avg", at::zeros_like(p)}};
    if (option(options, "momentum") > 0) state.emplace("momentum_buffer", at::zeros_like(p));
    if (flag(options, "centered")) state.emplace("grad_avg", at::zeros_like(p));
    return state;
  }

  /// s = alpha s + (1 - alpha) g^2; d = sqrt(s) + eps, or with `centered` sqrt(s - mean(g)^2) + eps; buf =
  /// momentum buf + g / d; p -= lr buf.
  void update(const Options& o, Stepped& batch, const StepInputs&) override {
    prepare(o, batch);
    for (const auto number : batch.numbers) (void)state_of(number, o);
    (void)count_steps(batch);
    auto squares = state_list(batch, "square_avg");
    average_squares(squares, batch.gradients, option(o, "alpha"));
    auto denominators = squares;
    if (flag(o, "centered")) {
      auto means = state_list(batch, "grad_avg");
      at::_foreach_lerp_(means, batch.gradients, 1 - option(o, "alpha"));
      denominators = at::_foreach_addcmul(squares, means, means, -1);
      at::_foreach_sqrt_(denominators);
    } else {
      denominators = at::_foreach_sqrt(squares);
    }
    at::_foreach_add_(denominators, option(o, "eps"));
    if (option(o, "momentum") > 0) {
      // A scheduler may have begun to move a momentum that was 0 at the first step.
      for (std::size_t i = 0; i < batch.numbers.size(); ++i)
        state_[batch.numbers[i]].try_emplace("momentum_buffer", at::zeros_like(batch.parameters[i]));
      auto buffers = state_list(batch, "momentum_buffer");
      at::_foreach_mul_(buffers, option(o, "momentum"));
      at::_foreach_addcdiv_(buffers, batch.gradients, denominators);
      at::_foreach_add_(batch.parameters, buffers, -option(o, "lr"));
    } else {
      at::_foreach_addcdiv_(batch.parameters, batch.gradients, denominators, -option(o, "lr"));
    }
  }
};

class AdadeltaLists final : public Grouped {
 public:
  using Grouped::Grouped;

 protected:
  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options&) const override {
    return ParameterState{
        {"step", host_number()}, {"square_avg", at::zeros_like(p)}, {"acc_delta", at::zeros_like(p)}};
  }

  /// s = rho s + (1 - rho) g^2; d = sqrt(a + eps) / sqrt(s + eps) g; a = rho a + (1 - rho) d^2; p -= lr d.
  void update(const Options& o, Stepped& batch, const StepInputs&) override {
    prepare(o, batch);
    for (const auto number : batch.numbers) (void)state_of(number, o);
    (void)count_steps(batch);
    auto squares = state_list(batch, "square_avg"), changes = state_list(batch, "acc_delta");
    const double rho = option(o, "rho"), eps = option(o, "eps");
    average_squares(squares, batch.gradients, rho);
    auto deltas = at::_foreach_add(changes, eps);
    at::_foreach_sqrt_(deltas);
    auto denominators = at::_foreach_add(squares, eps);
    at::_foreach_sqrt_(denominators);
    at::_foreach_div_(deltas, denominators);
    at::_foreach_mul_(deltas, batch.gradients);
    average_squares(changes, deltas, rho);
    at::_foreach_add_(batch.parameters, deltas, -option(o, "lr"));
  }
};

}  // namespace

std::shared_ptr<Optimizer> RMSprop(Parameters<RMSpropGroup> parameters, RMSpropOptions o) {
  return std::make_shared<RMSpropLists>(kRMSprop, std::move(parameters.groups),
                                        Options{{"lr", o.lr},
                                                {"alpha", o.alpha},
                                                {"eps", o.eps},
                                                {"weight_decay", o.weight_decay},
                                                {"momentum", o.momentum},
                                                {"centered", o.centered},
                                                {"maximize", o.maximize}});
}
std::shared_ptr<Optimizer> Adadelta(Parameters<AdadeltaGroup> parameters, AdadeltaOptions o) {
  return std::make_shared<AdadeltaLists>(kAdadelta, std::move(parameters.groups),
                                         Options{{"lr", o.lr},
                                                 {"rho", o.rho},
                                                 {"eps", o.eps},
                                                 {"weight_decay", o.weight_decay},
                                                 {"maximize", o.maximize}});
}

}  // namespace rtrain::optim
