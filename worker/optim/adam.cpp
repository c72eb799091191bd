// Adam and AdamW on the fused kernels. Kingma and Ba, arXiv 1412.6980; Loshchilov and Hutter, arXiv
// 1711.05101.
#include "worker/optim/grouped.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros_like.h>

namespace rtrain::optim {
namespace {

const std::vector<OptionRule> kOptions{{"lr"},       {"beta1", Range::kBelow1}, {"beta2", Range::kBelow1},
                                       {"eps"},      {"weight_decay"},          {"amsgrad"},
                                       {"maximize"}, {"decoupled_weight_decay"}};
const Kind kAdam{"Adam", kOptions}, kAdamW{"AdamW", kOptions};

class FusedAdam final : public Grouped {
 public:
  using Grouped::Grouped;

 protected:
  [[nodiscard]] bool is_fused() const override { return true; }

  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options& options) const override {
    ParameterState state{{"step", device_number(p)}};
    state.emplace("exp_avg", at::zeros_like(p));
    state.emplace("exp_avg_sq", at::zeros_like(p));
    if (flag(options, "amsgrad")) state.emplace("max_exp_avg_sq", at::zeros_like(p));
    return state;
  }

  void update(const Options& o, Stepped& batch, const StepInputs& inputs) override {
    Tensors averages, squares, max_squares, steps;
    for (auto* list : {&averages, &squares, &steps}) list->reserve(batch.numbers.size());
    const bool amsgrad = flag(o, "amsgrad");
    for (const auto number : batch.numbers) {
      const auto& state = state_of(number, o);
      averages.push_back(state.at("exp_avg"));
      squares.push_back(state.at("exp_avg_sq"));
      if (amsgrad) max_squares.push_back(state.at("max_exp_avg_sq"));
      steps.push_back(state.at("step"));
    }
    at::_foreach_add_(steps, 1);
    auto* kernel = flag(o, "decoupled_weight_decay") ? &adamw : &adam;
    kernel(batch, averages, squares, max_squares, steps, o, amsgrad, inputs);
    // A step that the kernel left out does not count.
    if (inputs.found_inf.defined())
      at::_foreach_sub_(steps, Tensors(steps.size(), inputs.found_inf.reshape({})));
  }

 private:
  static std::optional<at::Tensor> given(const torch::Tensor& tensor) {
    return tensor.defined() ? std::optional(tensor) : std::nullopt;
  }
  static void adam(Stepped& batch, Tensors& averages, Tensors& squares, Tensors& max_squares, Tensors& steps,
                   const Options& o, bool amsgrad, const StepInputs& inputs) {
    with_lr(o, batch, [&](const auto& lr) {
      at::_fused_adam_(batch.parameters, batch.gradients, averages, squares, max_squares, steps, lr,
                       option(o, "beta1"), option(o, "beta2"), option(o, "weight_decay"), option(o, "eps"),
                       amsgrad, flag(o, "maximize"), given(inputs.grad_scale), given(inputs.found_inf));
    });
  }
  static void adamw(Stepped& batch, Tensors& averages, Tensors& squares, Tensors& max_squares, Tensors& steps,
                    const Options& o, bool amsgrad, const StepInputs& inputs) {
    with_lr(o, batch, [&](const auto& lr) {
      at::_fused_adamw_(batch.parameters, batch.gradients, averages, squares, max_squares, steps, lr,
                        option(o, "beta1"), option(o, "beta2"), option(o, "weight_decay"), option(o, "eps"),
                        amsgrad, flag(o, "maximize"), given(inputs.grad_scale), given(inputs.found_inf));
    });
  }
};

}  // namespace

std::shared_ptr<Optimizer> Adam(Parameters<AdamGroup> parameters, AdamOptions o) {
  return std::make_shared<FusedAdam>(kAdam, std::move(parameters.groups),
                                     Options{{"lr", o.lr},
                                             {"beta1", o.beta1},
                                             {"beta2", o.beta2},
                                             {"eps", o.eps},
                                             {"weight_decay", o.weight_decay},
                                             {"amsgrad", o.amsgrad},
                                             {"maximize", o.maximize},
                                             {"decoupled_weight_decay", o.decoupled_weight_decay}});
}

std::shared_ptr<Optimizer> AdamW(Parameters<AdamGroup> parameters, AdamWOptions o) {
  return std::make_shared<FusedAdam>(kAdamW, std::move(parameters.groups),
                                     Options{{"lr", o.lr},
                                             {"beta1", o.beta1},
                                             {"beta2", o.beta2},
                                             {"eps", o.eps},
                                             {"weight_decay", o.weight_decay},
                                             {"amsgrad", o.amsgrad},
                                             {"maximize", o.maximize},
                                             {"decoupled_weight_decay", 1}});
}

}  // namespace rtrain::optim
