// Optimizers of special cases, a parameter at a time: ASGD (Polyak and Juditsky 1992) and Rprop (Riedmiller
// and Braun 1993).
#include "worker/optim/grouped.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

namespace rtrain::optim {
namespace {

const Kind kASGD{"ASGD",
                 {{"lr"},
                  {"lambd", Range::kAny},
                  {"alpha", Range::kAny},
                  {"t0", Range::kAny},
                  {"weight_decay"},
                  {"maximize"}}};
const Kind kRprop{"Rprop",
                  {{"lr"},
                   {"eta_minus", Range::kAbove0},
                   {"eta_plus"},
                   {"step_size_min", Range::kAbove0},
                   {"step_size_max", Range::kAbove0},
                   {"maximize"}},
                  [](const Options& o) -> std::string {
                    if (!(option(o, "eta_minus") < 1 && option(o, "eta_plus") > 1))
                      return "expected 0 < eta_minus < 1 < eta_plus, found " +
                             std::to_string(option(o, "eta_minus")) + " and " +
                             std::to_string(option(o, "eta_plus"));
                    if (option(o, "step_size_min") > option(o, "step_size_max"))
                      return "step_size_min must be at most step_size_max, found " +
                             std::to_string(option(o, "step_size_min")) + " and " +
                             std::to_string(option(o, "step_size_max"));
                    return "";
                  }};

class Averaged final : public Grouped {
 public:
  using Grouped::Grouped;

 protected:
  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options& options) const override {
    return ParameterState{{"step", host_number()},
                          {"eta", host_number(option(options, "lr"))},
                          {"mu", host_number(1)},
                          {"ax", at::zeros_like(p)}};
  }

  /// p = (1 - lambd eta) p - eta g; ax += mu (p - ax); eta = lr / (1 + lambd lr t)^alpha; mu = 1 / max(1, t -
  /// t0).
  void update(const Options& o, Stepped& batch, const StepInputs&) override {
    prepare(o, batch);
    for (const auto number : batch.numbers) (void)state_of(number, o);
    const auto steps = count_steps(batch);
    const double lr = option(o, "lr"), lambd = option(o, "lambd");
    for (std::size_t i = 0; i < steps.size(); ++i) {
      auto& p = batch.parameters[i];
      auto& state = state_[batch.numbers[i]];
      auto* eta = state.at("eta").data_ptr<float>();
      auto* mu = state.at("mu").data_ptr<float>();
      auto& average = state.at("ax");
      p.mul_(1 - lambd * double{*eta}).add_(batch.gradients[i], -double{*eta});
      if (*mu == 1)
        average.copy_(p);
      else
        average.add_((p - average).mul_(double{*mu}));
      *eta = static_cast<float>(lr / std::pow(1 + lambd * lr * steps[i], option(o, "alpha")));
      *mu = static_cast<float>(1 / std::max(1.0, steps[i] - option(o, "t0")));
    }
  }
};

class Signs final : public Grouped {
 public:
  using Grouped::Grouped;

 protected:
  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options& options) const override {
    return ParameterState{{"step", host_number()},
                          {"prev", at::zeros_like(p)},
                          {"step_size", at::full_like(p, option(options, "lr"))}};
  }

  /// The size of a step grows while the gradient keeps its sign, and shrinks when it turns; then nothing
  /// moves.
  void update(const Options& o, Stepped& batch, const StepInputs&) override {
    prepare(o, batch);
    for (const auto number : batch.numbers) (void)state_of(number, o);
    (void)count_steps(batch);
    for (std::size_t i = 0; i < batch.numbers.size(); ++i) {
      auto& state = state_[batch.numbers[i]];
      auto& before = state.at("prev");
      auto& size = state.at("step_size");
      const auto product = batch.gradients[i] * before;
      const auto turned = product.lt(0);
      const auto one = at::full_like(product, 1);
      size.mul_(at::where(turned, one * option(o, "eta_minus"),
                          at::where(product.gt(0), one * option(o, "eta_plus"), one)))
          .clamp_(option(o, "step_size_min"), option(o, "step_size_max"));
      const auto gradient = batch.gradients[i].masked_fill(turned, 0);
      batch.parameters[i].addcmul_(gradient.sign(), size, -1);
      before.copy_(gradient);
    }
  }
};

}  // namespace

std::shared_ptr<Optimizer> ASGD(Parameters<ASGDGroup> parameters, ASGDOptions o) {
  return std::make_shared<Averaged>(kASGD, std::move(parameters.groups),
                                    Options{{"lr", o.lr},
                                            {"lambd", o.lambd},
                                            {"alpha", o.alpha},
                                            {"t0", o.t0},
                                            {"weight_decay", o.weight_decay},
                                            {"maximize", o.maximize}});
}
std::shared_ptr<Optimizer> Rprop(Parameters<RpropGroup> parameters, RpropOptions o) {
  return std::make_shared<Signs>(kRprop, std::move(parameters.groups),
                                 Options{{"lr", o.lr},
                                         {"eta_minus", o.eta_minus},
                                         {"eta_plus", o.eta_plus},
                                         {"step_size_min", o.step_size_min},
                                         {"step_size_max", o.step_size_max},
                                         {"maximize", o.maximize}});
}

}  // namespace rtrain::optim
