// Kin of Adam on lists of tensors: NAdam (Dozat 2016), RAdam (Liu et al., arXiv 1908.03265), Adamax (Kingma
// and Ba, arXiv 1412.6980). m and v are the running averages of gradients and their squares, t the number of
// the step.
#include "worker/optim/grouped.h"

#include <ATen/ops/_foreach_abs.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_maximum.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

namespace rtrain::optim {
namespace {

using Scalars = std::vector<at::Scalar>;

const Kind kNAdam{"NAdam",
                  {{"lr"},
                   {"beta1", Range::kBelow1},
                   {"beta2", Range::kBelow1},
                   {"eps"},
                   {"weight_decay"},
                   {"momentum_decay"},
                   {"decoupled_weight_decay"},
                   {"maximize"}}};
const Kind kRAdam{"RAdam",
                  {{"lr"},
                   {"beta1", Range::kBelow1},
                   {"beta2", Range::kBelow1},
                   {"eps"},
                   {"weight_decay"},
                   {"decoupled_weight_decay"},
                   {"maximize"}}};
const Kind kAdamax{
    "Adamax",
    {{"lr"}, {"beta1", Range::kBelow1}, {"beta2", Range::kBelow1}, {"eps"}, {"weight_decay"}, {"maximize"}}};

class NAdamLists final : public Grouped {
 public:
  using Grouped::Grouped;

 protected:
  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options&) const override {
    return ParameterState{{"step", host_number()},
                          {"mu_product", host_number(1)},
                          {"exp_avg", at::zeros_like(p)},
                          {"exp_avg_sq", at::zeros_like(p)}};
  }

  /// With mu_t = beta1 (1 - 0.96^(t psi) / 2) and M their product so far: p -= lr ((1 - mu_t) / (1 - M) g +
  /// mu_(t+1) / (1 - M mu_(t+1)) m) / (sqrt(v / (1 - beta2^t)) + eps).
  void update(const Options& o, Stepped& batch, const StepInputs&) override {
    prepare(o, batch, flag(o, "decoupled_weight_decay"));
    for (const auto number : batch.numbers) (void)state_of(number, o);
    auto averages = state_list(batch, "exp_avg"), squares = state_list(batch, "exp_avg_sq");
    const auto steps = count_steps(batch);
    const double lr = option(o, "lr"), beta1 = option(o, "beta1"), beta2 = option(o, "beta2");
    const auto mu = [&](double t) {
      return beta1 * (1 - 0.5 * std::pow(0.96, t * option(o, "momentum_decay")));
    };
    Scalars bias, of_gradient, of_average;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const double now = mu(steps[i]), next = mu(steps[i] + 1);
      auto* product = state_[batch.numbers[i]].at("mu_product").data_ptr<float>();
      *product *= static_cast<float>(now);  // a float32, as PyTorch keeps it
      bias.emplace_back(1 - std::pow(beta2, steps[i]));
      of_gradient.emplace_back(-lr * (1 - now) / (1 - double{*product}));
      of_average.emplace_back(-lr * next / (1 - double{*product} * next));
    }
    at::_foreach_lerp_(averages, batch.gradients, 1 - beta1);
    average_squares(squares, batch.gradients, beta2);
    auto denominators = at::_foreach_div(squares, bias);
    at::_foreach_sqrt_(denominators);
    at::_foreach_add_(denominators, option(o, "eps"));
    at::_foreach_addcdiv_(batch.parameters, batch.gradients, denominators, of_gradient);
    at::_foreach_addcdiv_(batch.parameters, averages, denominators, of_average);
  }
};

class RAdamLists final : public Grouped {
 public:
  using Grouped::Grouped;

 protected:
  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options&) const override {
    return ParameterState{
        {"step", host_number()}, {"exp_avg", at::zeros_like(p)}, {"exp_avg_sq", at::zeros_like(p)}};
  }

  /// While the variance of the adaptive rate is not tractable (rho at most 5): p -= lr m / (1 - beta1^t).
  /// After that the same times r sqrt(1 - beta2^t) / (sqrt(v) + eps).
  void update(const Options& o, Stepped& batch, const StepInputs&) override {
    prepare(o, batch, flag(o, "decoupled_weight_decay"));
    for (const auto number : batch.numbers) (void)state_of(number, o);
    auto averages = state_list(batch, "exp_avg"), squares = state_list(batch, "exp_avg_sq");
    const auto steps = count_steps(batch);
    const double lr = option(o, "lr"), beta1 = option(o, "beta1"), beta2 = option(o, "beta2");
    at::_foreach_lerp_(averages, batch.gradients, 1 - beta1);
    average_squares(squares, batch.gradients, beta2);

    const double rho_inf = 2 / (1 - beta2) - 1;
    struct Chosen {
      Tensors parameters, averages, squares;
      Scalars factors;
    } plain, adaptive;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const double t = steps[i], bias1 = 1 - std::pow(beta1, t), bias2 = 1 - std::pow(beta2, t);
      const double rho = rho_inf - 2 * t * std::pow(beta2, t) / bias2;
      auto& part = rho > 5 ? adaptive : plain;
      double factor = -lr / bias1;
      if (rho > 5) {
        const double r = std::sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho));
        factor *= r * std::sqrt(bias2);
      }
      part.parameters.push_back(batch.parameters[i]);
      part.averages.push_back(averages[i]);
      part.squares.push_back(squares[i]);
      part.factors.emplace_back(factor);
    }
    if (!plain.parameters.empty())
      at::_foreach_add_(plain.parameters, at::_foreach_mul(plain.averages, plain.factors));
    if (adaptive.parameters.empty()) return;
    auto denominators = at::_foreach_sqrt(adaptive.squares);
    at::_foreach_add_(denominators, option(o, "eps"));
    at::_foreach_addcdiv_(adaptive.parameters, adaptive.averages, denominators, adaptive.factors);
  }
};

class AdamaxLists final : public Grouped {
 public:
  using Grouped::Grouped;

 protected:
  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options&) const override {
    return ParameterState{
        {"step", host_number()}, {"exp_avg", at::zeros_like(p)}, {"exp_inf", at::zeros_like(p)}};
  }

  /// u = max(beta2 u, abs(g) + eps), p -= lr / (1 - beta1^t) m / u.
  void update(const Options& o, Stepped& batch, const StepInputs&) override {
    prepare(o, batch);
    for (const auto number : batch.numbers) (void)state_of(number, o);
    auto averages = state_list(batch, "exp_avg"), greatest = state_list(batch, "exp_inf");
    const double beta1 = option(o, "beta1");
    Scalars rates;
    for (const double t : count_steps(batch)) rates.emplace_back(-option(o, "lr") / (1 - std::pow(beta1, t)));
    at::_foreach_lerp_(averages, batch.gradients, 1 - beta1);
    at::_foreach_mul_(greatest, option(o, "beta2"));
    auto sizes = at::_foreach_abs(batch.gradients);
    at::_foreach_add_(sizes, option(o, "eps"));
    at::_foreach_maximum_(greatest, sizes);
    at::_foreach_addcdiv_(batch.parameters, averages, greatest, rates);
  }
};

}  // namespace

std::shared_ptr<Optimizer> NAdam(Parameters<NAdamGroup> parameters, NAdamOptions o) {
  return std::make_shared<NAdamLists>(kNAdam, std::move(parameters.groups),
                                      Options{{"lr", o.lr},
                                              {"beta1", o.beta1},
                                              {"beta2", o.beta2},
                                              {"eps", o.eps},
                                              {"weight_decay", o.weight_decay},
                                              {"momentum_decay", o.momentum_decay},
                                              {"decoupled_weight_decay", o.decoupled_weight_decay},
                                              {"maximize", o.maximize}});
}
std::shared_ptr<Optimizer> RAdam(Parameters<AdamGroup> parameters, RAdamOptions o) {
  return std::make_shared<RAdamLists>(kRAdam, std::move(parameters.groups),
                                      Options{{"lr", o.lr},
                                              {"beta1", o.beta1},
                                              {"beta2", o.beta2},
                                              {"eps", o.eps},
                                              {"weight_decay", o.weight_decay},
                                              {"decoupled_weight_decay", o.decoupled_weight_decay},
                                              {"maximize", o.maximize}});
}
std::shared_ptr<Optimizer> Adamax(Parameters<AdamGroup> parameters, AdamaxOptions o) {
  return std::make_shared<AdamaxLists>(kAdamax, std::move(parameters.groups),
                                       Options{{"lr", o.lr},
                                               {"beta1", o.beta1},
                                               {"beta2", o.beta2},
                                               {"eps", o.eps},
                                               {"weight_decay", o.weight_decay},
                                               {"maximize", o.maximize}});
}

}  // namespace rtrain::optim
