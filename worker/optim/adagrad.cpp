// Adagrad on the fused kernel: s += g^2, p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps). Duchi, Hazan
// and Singer, JMLR 12 (2011).
#include "worker/optim/grouped.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_fused_adagrad.h>
#include <ATen/ops/full_like.h>

namespace rtrain::optim {
namespace {

const Kind kAdagrad{
    "Adagrad",
    {{"lr"}, {"lr_decay"}, {"weight_decay"}, {"initial_accumulator_value"}, {"eps"}, {"maximize"}}};

class FusedAdagrad final : public Grouped {
 public:
  using Grouped::Grouped;

 protected:
  [[nodiscard]] bool is_fused() const override { return true; }

  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options& options) const override {
    return ParameterState{{"step", device_number(p)},
                          {"sum", at::full_like(p, option(options, "initial_accumulator_value"))}};
  }

  void update(const Options& o, Stepped& batch, const StepInputs& inputs) override {
    for (const auto number : batch.numbers) (void)state_of(number, o);
    auto sums = state_list(batch, "sum"), steps = state_list(batch, "step");
    at::_foreach_add_(steps, 1);
    const auto given = [](const torch::Tensor& tensor) {
      return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
    };
    with_lr(o, batch, [&](const auto& lr) {
      at::_fused_adagrad_(batch.parameters, batch.gradients, sums, steps, lr, option(o, "lr_decay"),
                          option(o, "weight_decay"), option(o, "eps"), flag(o, "maximize"),
                          given(inputs.grad_scale), given(inputs.found_inf));
    });
    // A step that the kernel left out does not count.
    if (inputs.found_inf.defined())
      at::_foreach_sub_(steps, Tensors(steps.size(), inputs.found_inf.reshape({})));
  }
};

}  // namespace

std::shared_ptr<Optimizer> Adagrad(Parameters<AdagradGroup> parameters, AdagradOptions o) {
  return std::make_shared<FusedAdagrad>(kAdagrad, std::move(parameters.groups),
                                        Options{{"lr", o.lr},
                                                {"lr_decay", o.lr_decay},
                                                {"weight_decay", o.weight_decay},
                                                {"initial_accumulator_value", o.initial_accumulator_value},
                                                {"eps", o.eps},
                                                {"maximize", o.maximize}});
}

}  // namespace rtrain::optim
